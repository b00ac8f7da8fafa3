"""The examples to measure on: stored images without augmentation, with the labels of training."""

import math
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from experiments.data import Examples
from experiments.data.dataset import DatasetInfo, info_of
from experiments.data.images import imagenet
from experiments.results.measures.functions import TestBatch
from experiments.tasks.table import imagenet_info, load_dataset, open_imagenet

# The config keys that determine the examples of a run and their normalization.
_KEYS = (
    "dataset",
    "data_dir",
    "image_size",
    "validation",
    "train_examples",
    "label_noise",
    "data_seed",
    "fold",
    "shrink",
    "pretrained",
)
_MAX_TEST_BATCH = 1000  # test examples
_STREAM_BATCH = 64


class Data(NamedTuple):
    """Examples to measure on.

    Attributes:
      info: static properties of the whole dataset.
      train: training examples, a fixed random subset.
      test: test examples, likewise.
    """

    info: DatasetInfo
    train: Examples
    test: Examples


def load(config: ConfigDict, max_train: int | None, max_test: int | None) -> Data:
    """Loads the examples of a run; runs that share their data share the object.

    Args:
      config: config of the run.
      max_train: maximum number of training examples; None for all.
      max_test: maximum number of test examples; None for all.

    Raises:
      ValueError: if one of the two is not positive.
    """
    for name, value in {"examples": max_train, "test_examples": max_test}.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}.")
    return _load(FrozenConfigDict({key: config[key] for key in _KEYS}), max_train, max_test)


@cache
def _load(config: FrozenConfigDict, max_train: int | None, max_test: int | None) -> Data:
    if config.dataset == imagenet.NAME:
        splits = open_imagenet(config)
        # TFDS stores the examples shuffled: the first ones are a random subset.
        train = _read(splits.train, max_train, config.image_size)
        held_out = splits.test if splits.val is None else splits.val
        test = _read(held_out, max_test, config.image_size)
        return Data(imagenet_info(config, splits), *jax.device_put((train, test)))
    dataset = load_dataset(config)
    train = _random_subset(dataset.train, max_train)
    held_out = dataset.test if dataset.val is None else dataset.val
    test = _random_subset(held_out, max_test)
    return Data(info_of(dataset), *jax.device_put((train, test)))


def _random_subset(examples: Examples, limit: int | None) -> Examples:
    rows = np.random.default_rng(0).permutation(len(examples.labels))[:limit]
    return Examples(*(x[rows] for x in examples))


def _read(examples: grain.MapDataset, limit: int | None, image_size: int) -> Examples:
    """The center crops of the first images."""
    num_examples = len(examples) if limit is None else min(limit, len(examples))
    batches = imagenet.eval_batches(examples[:num_examples], _STREAM_BATCH, image_size=image_size)
    read = islice(imagenet.stream(batches), math.ceil(num_examples / _STREAM_BATCH))
    return Examples(*(np.concatenate(x)[:num_examples] for x in zip(*read, strict=True)))


def check_m(m: int, examples: Examples) -> None:
    """Raises ValueError unless there are examples for a minibatch of m."""
    available = len(examples.labels)
    if not 1 <= m <= available:
        raise ValueError(f"m must be in [1, {available}], the number of examples, got {m}.")


def minibatches(examples: Examples, m: int) -> Examples:
    """Stacks the examples into minibatches of m, dropping the last, partial one."""
    check_m(m, examples)
    n = len(examples.labels) // m
    return jax.tree.map(lambda x: x[: n * m].reshape(n, m, *x.shape[1:]), examples)


def random_minibatches(examples: Examples, m: int, num_batches: int) -> Examples:
    """Draws minibatches of m examples, each without replacement, as a training step's are."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(len(examples.labels), m, replace=False) for _ in range(num_batches)]
    return jax.tree.map(lambda x: x[np.stack(rows)], examples)


def broadcast_to_batches(tree: Any, num_batches: int) -> Any:
    """Repeats the arrays of ``tree`` for each minibatch."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (num_batches, *x.shape)), tree)


def test_batches(test: Examples) -> TestBatch:
    """Stacks the test examples into batches of equal size, padded with examples labelled -1."""
    num_examples = len(test.labels)
    num_batches = math.ceil(num_examples / _MAX_TEST_BATCH)
    size = math.ceil(num_examples / num_batches)
    missing = num_batches * size - num_examples
    images = jnp.pad(test.images, ((0, missing), *((0, 0),) * 3))
    labels = jnp.pad(test.labels, (0, missing), constant_values=-1)
    batches = minibatches(Examples(images, labels), size)
    return TestBatch(batches, jnp.full(num_batches, num_batches / num_examples))
