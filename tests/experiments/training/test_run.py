"""``train.run`` as a function: its result and the types of its errors."""

import json

import numpy as np
import pytest

from experiments import train
from experiments.tasks import table
from experiments.training.metrics import AllStepsSkippedError, NotFiniteError


def test_it_returns_the_metrics_that_it_writes(config, tmp_path, capsys):
    config.update(model="dense", epochs=2, train_examples=256)
    history = train.run(config, tmp_path, show_progress=False)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history
    assert [record["epoch"] for record in history] == [1, 2]
    assert train.run(config, tmp_path, show_progress=False) == history  # nothing is left to train
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({}, NotFiniteError, "the loss is nan at step 1 of epoch 1"),
        ({"skip_nonfinite": 100}, AllStepsSkippedError, "all 2 steps of epoch 1 were skipped"),
    ],
)
def test_a_loss_that_is_not_finite_raises_with_the_newest_checkpoint(
    changes, kind, message, config, tmp_path, monkeypatch
):
    def load_infinite_images(config, load=table.load_dataset):
        dataset = load(config)
        images = np.full(dataset.train.images.shape, np.inf, np.float32)
        return dataset._replace(train=dataset.train._replace(images=images))

    monkeypatch.setattr(table, "load_dataset", load_infinite_images)
    config.update(model="dense", train_examples=256, **changes)
    with pytest.raises(kind, match=message) as error:
        train.run(config, tmp_path, show_progress=False)
    (note,) = error.value.__notes__
    assert note.startswith("The newest checkpoint: none. Try a smaller learning_rate or rho")


def test_an_invalid_value_raises_before_the_folder_is_made(config, tmp_path):
    config.method = "sam:rho=-1"
    with pytest.raises(ValueError, match="rho"):
        train.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
