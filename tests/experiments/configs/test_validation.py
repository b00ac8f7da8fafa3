"""Config values out of range."""

import pytest

from experiments.configs import base
from experiments.configs.validation import check_ranges
from experiments.tasks import table
from experiments.training.setup import make_run


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("dtype", "float16", "'float32' or 'bfloat16'"),
        ("epochs", 0, ">= 1"),
        ("epochs", None, ">= 1"),
        ("save_every_steps", 0, ">= 1"),
        ("seed", 2**32, r"an integer in \[0, 2\*\*32\)"),
        ("seed", -1, r"an integer in \[0, 2\*\*32\)"),
        ("label_noise", 1.5, r"in \[0, 1\]"),
        ("label_smoothing", 1.0, r"in \[0, 1\)"),
        ("learning_rate", float("nan"), "> 0 and finite"),
        ("weight_decay", float("inf"), ">= 0 and finite"),
        ("clip_norm", 0.0, "> 0"),
        ("betas", (0.9,), r"two numbers in \[0, 1\)"),
        ("betas", (0.9, "x"), r"two numbers in \[0, 1\)"),
    ],
)
def test_a_value_out_of_range_raises_with_the_range(key, value, right):
    config = base.get_config()
    check_ranges(config)
    config[key] = value
    with pytest.raises(ValueError, match=f"^{key} must be {right}, got "):
        check_ranges(config)


def test_values_are_checked_before_data_is_opened(config, monkeypatch):
    monkeypatch.setattr(table, "load_dataset", None)  # not even called
    config.update(model="dense", batch_size=0)
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        make_run(config)
