"""Runs and measurements whose files are damaged or missing are done again."""

import json

import pytest

from experiments.campaign.commands import COMMANDS
from experiments.campaign.measuring import Measurement
from experiments.campaign.runs import Run
from experiments.configs import digits
from experiments.recipes.recipe import MeasureSpec
from experiments.training import run_dir


@pytest.fixture
def config():
    return digits.get_config()


def test_a_run_whose_log_is_not_that_of_its_checkpoint_is_not_finished(tmp_path, config):
    history = [{"epoch": 1, "train_loss": float("nan")}]
    config.epochs = 1
    (tmp_path / "checkpoints" / "1" / "history").mkdir(parents=True)
    saved = tmp_path / "checkpoints" / "1" / "history" / "metadata"
    saved.write_text(json.dumps({"epochs": history}))
    finished = COMMANDS["train"].finished
    assert not finished(tmp_path, config)  # no log yet
    run_dir.write_lines(tmp_path / "metrics.jsonl", history)
    assert finished(tmp_path, config)
    for damaged in ('{"epoch": 1, "train_loss": 2.0}\n', '{"epoch\n', ""):
        (tmp_path / "metrics.jsonl").write_text(damaged)
        assert not finished(tmp_path, config)
    run_dir.write_lines(tmp_path / "metrics.jsonl", history)
    saved.write_text("")
    assert not finished(tmp_path, config)


DAMAGED_RESULTS = ["", "{", "[]x", "\x00"]


@pytest.mark.parametrize("content", [*DAMAGED_RESULTS, "[]", "3"])
def test_a_continual_run_with_a_damaged_result_is_not_finished(content, tmp_path, config):
    finished, path = COMMANDS["continual"].finished, tmp_path / "continual.json"
    assert not finished(tmp_path, config)
    path.write_text(content)
    assert not finished(tmp_path, config)
    path.write_text("{}")
    assert finished(tmp_path, config)


@pytest.mark.parametrize("content", DAMAGED_RESULTS)
def test_a_damaged_measurement_is_taken_again(content, tmp_path):
    run = Run(COMMANDS["train"], digits.get_config(), tmp_path)
    measurement = Measurement(run, MeasureSpec("training", ()))
    assert not measurement.is_done
    measurement.file.parent.mkdir()
    run_dir.write_lines(measurement.file, [{"value": 1}])
    assert measurement.is_done
    assert measurement.read() == {"value": 1}
    measurement.file.write_text(content)
    assert not measurement.is_done
    with pytest.raises(ValueError, match="missing or damaged"):
        measurement.read()


def test_a_damaged_log_counts_no_epochs(tmp_path):
    run = Run(COMMANDS["train"], digits.get_config(), tmp_path)
    assert run.epochs_done == 0
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n')
    assert run.epochs_done == 1
    (tmp_path / "metrics.jsonl").write_text("{\n{\n")
    assert run.epochs_done == 0
