"""Data of a user's own: what would train to a NaN or a wrong score is refused and named."""

import sys
import types

import numpy as np
import pytest

from experiments import data
from experiments.data import Dataset, Examples


def dataset(images=None, labels=None, num_classes=10, **changes):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 8, 8, 1), dtype=np.uint8) if images is None else images
    labels = np.arange(20, dtype=np.int32) % 10 if labels is None else labels
    examples = Examples(images, labels)
    return Dataset(examples, examples, num_classes, np.ones(1), np.ones(1))._replace(**changes)


def load(made, monkeypatch):
    module = types.ModuleType("own_data")
    module.load = lambda data_dir: made
    monkeypatch.setitem(sys.modules, "own_data", module)
    return data.load("own_data:load")


@pytest.mark.parametrize("labels", [np.arange(20) % 10, np.arange(20, dtype=np.uint8) % 10])
def test_a_valid_dataset_is_as_it_was_made(labels, monkeypatch):
    made = dataset(labels=labels)
    loaded = load(made, monkeypatch)
    np.testing.assert_array_equal(loaded.train.images, made.train.images)
    np.testing.assert_array_equal(loaded.train.labels, labels)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (dataset(labels=np.arange(20) % 10 + 1), r"labels must be from 0 to 9.*from 1 to 10"),
        (dataset(labels=np.arange(20) % 10 - 1), r"labels must be from 0 to 9.*from -1 to 8"),
        (dataset(labels=np.arange(20)[:, None] % 10), r"labels .*shape \(20,\).*\(20, 1\)"),
        (dataset(labels=np.arange(19) % 10), r"labels .*shape \(20,\).*\(19,\)"),
        (dataset(labels=np.arange(20) % 10 / 1), r"labels must be integers.*float64"),
        (dataset(images=np.zeros((20, 64), np.uint8)), r"images .*\(examples, height.*\(20, 64\)"),
        (dataset(images=np.full((20, 8, 8, 1), np.nan)), r"images must be finite"),
        (dataset(images=np.full((20, 8, 8, 1), None)), r"images must be real numbers.*object"),
        (
            dataset(test=Examples(np.zeros((20, 9, 9, 1), np.uint8), np.arange(20) % 10)),
            r"test images .*\(8, 8, 1\), got \(9, 9, 1\)",
        ),
        (dataset(std=np.zeros(1)), r"std must be finite and > 0"),
        (dataset(mean=np.ones(3)), r"mean must be finite.*each of 1 channels"),
        ({"train": 1}, r"must return a Dataset, got dict"),
    ],
)
def test_what_is_wrong_is_named(made, message, monkeypatch):
    with pytest.raises(ValueError, match=f"dataset 'own_data:load'.*{message}"):
        load(made, monkeypatch)
