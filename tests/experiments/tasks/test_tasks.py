"""Tasks: padding, numbers of whole sets, and splits of a run."""

import json

import jax
import numpy as np
import pytest

from experiments import train
from experiments.data.dataset import Examples, pad
from experiments.tasks import table
from experiments.training.metrics import METRICS, best_epoch
from tests.support.training import start


@pytest.fixture
def config(config):
    config.update(model="dense", train_examples=256, epochs=2)
    return config


def lines(workdir):
    text = (workdir / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_padding_counts_for_nothing(config):
    trainer, pipeline, state = start(config)
    (test_set,) = pipeline.evaluation["test"]()
    padded = pad(Examples(*map(np.asarray, test_set)), len(test_set.labels) + 7)
    sums, padded_sums = (trainer.evaluate(state, batch) for batch in (test_set, padded))
    assert sums["examples"] == padded_sums["examples"] == 360
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), sums, padded_sums)


def test_numbers_of_whole_sets_end_the_last_line(config, tmp_path, monkeypatch):
    make = table.classification_task
    counted = lambda model: {"test_weights": model.first.kernel.size}
    monkeypatch.setattr(
        table,
        "classification_task",
        lambda config, info: make(config, info)._replace(measure=counted),
    )
    train.main(config, tmp_path)
    first, last = lines(tmp_path)
    assert "test_weights" not in first
    assert last["test_weights"] == 512


def test_a_held_out_part_is_logged_as_validation(config, tmp_path, capsys):
    config.validation = 0.2
    train.main(config, tmp_path)
    logged = lines(tmp_path)[-1]
    assert {"val_loss", "val_accuracy"} <= logged.keys()
    assert not any(name.startswith("test_") for name in logged)
    assert "SGD: validation accuracy" in capsys.readouterr().out


def test_held_out_part_and_test_set_can_both_be_logged(config, tmp_path, capsys):
    config.update(validation=0.2, eval_test=True)
    train.main(config, tmp_path)
    logged = lines(tmp_path)[-1]
    assert {"val_accuracy", "test_accuracy"} <= logged.keys() & METRICS.keys()
    summary = capsys.readouterr().out
    assert "validation accuracy" in summary
    assert "test accuracy" in summary
    assert "after epoch" in summary


def test_the_best_epoch_follows_the_direction_of_the_metric():
    history = [
        {"epoch": 1, "test_accuracy": 0.5, "test_loss": 1.0},
        {"epoch": 2, "test_accuracy": 0.7, "test_loss": 0.5},
        {"epoch": 3, "test_accuracy": 0.7, "test_loss": 0.6},
    ]
    assert best_epoch(history, "test_accuracy")["epoch"] == 2
    assert best_epoch(history, "test_loss")["epoch"] == 2
