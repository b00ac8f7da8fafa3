"""The folder of a run: whose it is, its name, and its files."""

import json

import jax
import pytest

from experiments.configs import continual, digits, translation
from experiments.configs.base import with_changes
from experiments.training import run_dir


@pytest.fixture
def config():
    return digits.get_config()


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# Identity and name


def test_the_identity_is_what_differs_from_the_defaults(config):
    config.update(method="sam:rho=0.05", workers=0, batch_size=128)
    assert run_dir.identity(config) == {
        "dataset": "digits",
        "epochs": 30,
        "label_noise": 0.2,
        "learning_rate": 0.03,
        "method": "sam",
        "model": "resnet_digits",
    }


def test_defaults_of_keys_that_only_one_setup_has_are_not_part_of_the_identity():
    config = translation.get_config("multi30k")
    identity = run_dir.identity(config)
    assert (identity["task"], identity["width"]) == ("translation", 256)
    assert "beam" not in identity
    stream = continual.get_config("digits")
    stream.seed = 1
    assert "glances" not in run_dir.identity(stream)
    assert run_dir.identity(stream)["epochs"] == 15  # tasks times epochs_per_task


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "sam"},
        {"seed": 1},
        {"epochs": 3},
        {"keep_every": 2},
        {"switch": ((1, "sam"),)},
        {"switch": ((5, 3),)},  # yet to be rejected
    ],
)
def test_another_run_has_another_name(config, changes):
    assert run_dir.run_name(with_changes(config, changes)) != run_dir.run_name(config)


@pytest.mark.parametrize("changes", [{"method": "sgd"}, {"data_dir": "x"}, {"eval_batch_size": 7}])
def test_the_same_run_has_the_same_name(config, changes):
    assert run_dir.run_name(with_changes(config, changes)) == run_dir.run_name(config)


def test_the_name_shows_dataset_model_method_and_seed(config):
    config.update(method="lookbehind_sam:alpha=0.5,k=5", seed=3)
    path = run_dir.default_workdir(config)
    assert path.parent.name == "runs"
    assert path.name.startswith("digits-resnet_digits-lookbehind_sam-k=5-alpha=0.5-seed3-")


# Resuming in a folder


def test_a_run_of_another_config_raises_with_the_difference(config, tmp_path):
    run_dir.write_config(tmp_path, config)
    run_dir.check_config(tmp_path, config)
    config.update(label_smoothing=0.2, seed=1)
    with pytest.raises(ValueError, match="holds a run of another config") as error:
        run_dir.check_config(tmp_path, config)
    assert str(error.value).splitlines()[1:3] == [
        "  label_smoothing: 0.0 in the workdir, 0.2 requested",
        "  seed: 0 in the workdir, 1 requested",
    ]


def test_a_run_resumes_with_its_method_in_other_words(config, tmp_path):
    config.update(method="lookbehind_sam:alpha=0.5,k=5", switch=((1, "sam:rho=0.05"),))
    run_dir.write_config(tmp_path, config)
    config.update(method="lookbehind_sam:k=5,rho=0.05,alpha=0.50", switch=((1, "sam"),))
    run_dir.check_config(tmp_path, config)


def test_a_run_resumes_with_a_key_that_is_newer_than_it(config, tmp_path):
    run_dir.write_config(tmp_path, config)
    path = tmp_path / run_dir.CONFIG
    saved = json.loads(path.read_text())
    del saved["label_smoothing"]
    path.write_text(json.dumps(saved))
    run_dir.check_config(tmp_path, config)
    config.label_smoothing = 0.1
    with pytest.raises(ValueError, match=r"label_smoothing: 0\.0 in the workdir, 0\.1 requested"):
        run_dir.check_config(tmp_path, config)


def test_checkpoints_without_a_config_raise(config, tmp_path):
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        run_dir.check_config(tmp_path, config)
    (tmp_path / "checkpoints" / "1").rmdir()
    run_dir.check_config(tmp_path, config)


@pytest.mark.parametrize(
    "config", [digits.get_config(), translation.get_config(), continual.get_config()]
)
def test_a_config_is_read_as_it_was_written(config, tmp_path):
    config.switch = ((3, "sam"),)
    run_dir.write_config(tmp_path, config)
    assert run_dir.read_config(tmp_path) == config.copy_and_resolve_references()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_damaged_config_raises_with_its_path(content, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json (is damaged|must hold)") as error:
        run_dir.read_config(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "values", [{"seed": "one"}, {"epochs": 0}, {"switch": [1]}, {"a.b": 2}, {"betas": "ab"}]
)
def test_a_value_that_a_config_cannot_have_raises_with_the_path(config, values, tmp_path):
    run_dir.write_config(tmp_path, config)
    change(tmp_path / "config.json", **values)
    with pytest.raises(ValueError, match=r"config\.json: "):
        run_dir.read_config(tmp_path)


# Files


def test_versions_are_added_when_they_change(config, tmp_path):
    path = tmp_path / run_dir.VERSIONS
    run_dir.write_config(tmp_path, config)
    (versions,) = json.loads(path.read_text())
    assert versions["jax"] == jax.__version__
    assert {"jaxlib", "optax", "flax", "optax-lookbehind"} <= versions.keys()
    older = versions | {"jax": "0.1"}
    path.write_text(json.dumps([older]))
    for _ in range(2):
        run_dir.write_config(tmp_path, config)
    assert json.loads(path.read_text()) == [older, versions]


def test_lines_are_appended_and_an_unfinished_one_is_skipped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    run_dir.write_lines(path, [{"epoch": 1}])
    run_dir.append_line(path, {"epoch": 2})
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"epo')
    assert run_dir.read_lines(path) == [{"epoch": 1}, {"epoch": 2}]


def test_a_damaged_line_raises_with_its_number(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\n{\n{"epoch": 3}\n')
    with pytest.raises(ValueError, match=rf"^line 2 of {path} is damaged"):
        run_dir.read_lines(path)
