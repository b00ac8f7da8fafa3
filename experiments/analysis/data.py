"""What the measures see of a run's data: images as stored, not augmented, labels as trained on."""

from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from experiments.analysis.functions import TestBatch
from experiments.data import Examples, imagenet
from experiments.data import pipeline as feeds
from experiments.data.pipeline import Facts

# The keys that decide which examples a run trains and is tested on, and how they are normalized.
_KEYS = (
    "dataset",
    "data_dir",
    "image_size",
    "validation",
    "train_examples",
    "label_noise",
    "noise_seed",
    "pretrained",
)
_TEST_BATCH = 1000  # at most so many test examples at a time
_STREAM_BATCH = 64


class Data(NamedTuple):
    """Examples to measure on.

    Attributes:
      facts: about all of the data.
      train: some of the training examples, in random order: the first of a fixed shuffle.
      test: some of the test examples.
    """

    facts: Facts
    train: Examples
    test: Examples


def load(config: ConfigDict, most_train: int, most_test: int) -> Data:
    """The examples of a run; the same object for runs that share their data.

    Args:
      config: the run's.
      most_train: how many training examples to take; all, where there are fewer.
      most_test: how many test examples likewise.
    """
    for name, value in {"examples": most_train, "test_examples": most_test}.items():
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}.")
    return _load(FrozenConfigDict({key: config[key] for key in _KEYS}), most_train, most_test)


@cache
def _load(config: FrozenConfigDict, most_train: int, most_test: int) -> Data:
    if config.dataset == "imagenet2012":
        splits = imagenet.open_splits(config.data_dir, config.validation, config.train_examples)
        # TFDS stores them shuffled.
        parts = ((splits.train, most_train), (splits.test, most_test))
        train, test = (_read(examples, most, config.image_size) for examples, most in parts)
        return Data(feeds.streamed_facts(config, splits), *jax.device_put((train, test)))
    dataset = feeds.load(config)
    parts = ((dataset.train, most_train), (dataset.test, most_test))
    train, test = (_some(examples, most) for examples, most in parts)
    return Data(feeds.facts_of(dataset), *jax.device_put((train, test)))


def _some(examples: Examples, most: int) -> Examples:
    rows = np.random.default_rng(0).permutation(len(examples.labels))[:most]
    return Examples(*(x[rows] for x in examples))


def _read(examples: grain.MapDataset, most: int, size: int) -> Examples:
    """The centers of the first images."""
    count = min(most, len(examples))
    batches = imagenet.eval_batches(examples[:count], _STREAM_BATCH, image_size=size)
    read = islice(imagenet.stream(batches), -(-count // _STREAM_BATCH))
    return Examples(*(np.concatenate(x)[:count] for x in zip(*read, strict=True)))


def minibatches(examples: Examples, m: int) -> Examples:
    """The examples in minibatches of m; the last, partial one is dropped."""
    available = len(examples.labels)
    if not 1 <= m <= available:
        raise ValueError(f"m must be in [1, {available}], the number of examples, got {m}.")
    number = available // m
    return jax.tree.map(lambda x: x[: number * m].reshape(number, m, *x.shape[1:]), examples)


def random_minibatches(examples: Examples, m: int, number: int) -> Examples:
    """So many minibatches, each m different examples drawn at random, as a training step's are."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(len(examples.labels), m, replace=False) for _ in range(number)]
    return jax.tree.map(lambda x: x[np.stack(rows)], examples)


def beside_each(tree: Any, number: int) -> Any:
    """A copy of the tree's arrays for each minibatch."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (number, *x.shape)), tree)


def test_batches(test: Examples) -> TestBatch:
    """The test examples in batches of one size."""
    count = len(test.labels)
    number = -(-count // _TEST_BATCH)
    size = -(-count // number)
    missing = number * size - count
    images = jnp.pad(test.images, ((0, missing), *((0, 0),) * 3))
    labels = jnp.pad(test.labels, (0, missing), constant_values=-1)
    batches = minibatches(Examples(images, labels), size)
    return TestBatch(batches, jnp.full(number, number / count))
