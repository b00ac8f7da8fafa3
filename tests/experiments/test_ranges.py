"""Config values out of range."""

import pytest

from experiments import train
from experiments.tasks import table
from experiments.training.setup import make_run


@pytest.fixture
def config(config):
    config.model = "dense"
    return config


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("dtype", "float33", "'float32' or 'bfloat16'"),
        ("dtype", "int32", "'float32' or 'bfloat16'"),
        ("epochs", 0, r"in \[1, 1000000\]"),
        ("epochs", 99999999999, r"in \[1, 1000000\]"),
        ("batch_size", 0, ">= 1"),
        ("seed", 2**32, r"an integer in \[0, 2\*\*32\)"),
        ("seed", -1, r"an integer in \[0, 2\*\*32\)"),
        ("train_examples", 0, ">= 1"),
        ("validation", 1.0, r"in \[0, 1\)"),
        ("label_noise", 1.5, r"in \[0, 1\]"),
        ("eval_batch_size", -4, ">= 1"),
        ("eval_batch_size", 0, ">= 1"),
        ("image_size", 0, ">= 1"),
        ("label_smoothing", 2.0, r"in \[0, 1\)"),
        ("label_smoothing", 1.0, r"in \[0, 1\)"),
        ("learning_rate", -1.0, "> 0 and finite"),
        ("learning_rate", 0.0, "> 0 and finite"),
        ("learning_rate", float("nan"), "> 0 and finite"),
        ("momentum", 1.5, r"in \[0, 1\)"),
        ("data_seed", -1, r"an integer in \[0, 2\*\*32\)"),
        ("skip_nonfinite", -1, ">= 0 and finite"),
        ("weight_decay", -1.0, ">= 0 and finite"),
        ("weight_decay", float("inf"), ">= 0 and finite"),
        ("workers", -1, ">= 0 and finite"),
    ],
)
def test_a_value_out_of_range_raises_with_the_range(config, key, value, right, monkeypatch):
    monkeypatch.setattr(table, "load_dataset", None)  # not even called
    config[key] = value
    with pytest.raises(ValueError, match=f"{key} must be {right}, got {value!r}\\."):
        make_run(config)


def test_weights_of_a_vit_are_for_vits(config, tmp_path):
    weights = tmp_path / "ViT-B_16.npz"
    weights.touch()
    config.update(pretrained=str(weights), epochs=1)
    with pytest.raises(SystemExit, match=r"ViT-B_16\.npz holds the weights of a ViT, .* a Dense"):
        train.main(config, tmp_path / "run")
