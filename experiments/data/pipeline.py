"""Where a run's batches come from: the whole set on every device, or a stream from the host."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from experiments import data
from experiments.data import Dataset, Examples, imagenet
from experiments.parallel.mesh import divided, from_each_process, place, replicated, rounded_up


class Facts(NamedTuple):
    """What model and step are built from.

    Attributes:
      examples: number of training examples.
      image_shape: height, width and channels.
      num_classes: number of classes.
      mean: what is subtracted from stored images, per channel.
      std: what they are then divided by.
      augment: whether to crop and flip them in the step.
    """

    examples: int
    image_shape: tuple[int, int, int]
    num_classes: int
    mean: np.ndarray
    std: np.ndarray
    augment: bool


class Feed(NamedTuple):
    """The batches of a run. What an epoch has follows from its number: nothing else is to be kept.

    Attributes:
      facts: about the data.
      train: from which epoch on, to the arguments that each step takes besides the state: an
        iterator over epochs, of iterators over steps.
      test: the evaluation set, in batches that the devices divide.
      select: arguments of a step to its batch, inside the compiled step.
    """

    facts: Facts
    train: Callable[[int], Iterator[Iterable[tuple]]]
    test: Callable[[], Iterable[Examples]]
    select: Callable[..., Examples]


def steps_per_epoch(config: ConfigDict, examples: int) -> int:
    """Number of whole batches."""
    if not 1 <= config.batch_size <= examples:
        raise ValueError(f"batch_size must be in [1, {examples}], got {config.batch_size}.")
    return examples // config.batch_size


def load(config: ConfigDict) -> Dataset:
    """Loads a data set that fits in memory, with the config's subset, split and label noise."""
    dataset = data.hold_out(data.load(config.dataset, config.data_dir), config.validation)
    dataset = data.take(dataset, config.train_examples)
    dataset = data.flip_labels(dataset, config.label_noise, config.noise_seed)
    return dataset._replace(**_scale(config, dataset.mean, dataset.std))


def make(config: ConfigDict, mesh: Mesh, key: jax.Array) -> Feed:
    """The config's data; ``key`` decides the order of a set in memory."""
    if config.dataset == "imagenet2012":
        return streamed(config, mesh)
    return resident(config, load(config), mesh, key)


def facts_of(dataset: Dataset) -> Facts:
    """The facts about a data set in memory."""
    images = dataset.train.images
    return Facts(
        len(images),
        images.shape[1:],
        dataset.num_classes,
        dataset.mean,
        dataset.std,
        dataset.augment,
    )


def select_rows(train: Examples, rows: jax.Array) -> Examples:
    """The batch of a step whose arguments are the training set and rows of it."""
    return Examples(train.images[rows], train.labels[rows])


def shuffled(config: ConfigDict, examples: int, key: jax.Array, epoch: int) -> jax.Array:
    """An epoch's batches, as indices ``[step, example]``; the last, partial batch is dropped."""
    steps = steps_per_epoch(config, examples)
    rows = jax.random.permutation(jax.random.fold_in(key, epoch), examples)
    return rows[: steps * config.batch_size].reshape(steps, config.batch_size)


def resident(config: ConfigDict, dataset: Dataset, mesh: Mesh, key: jax.Array) -> Feed:
    """The whole set on every device; an epoch is an order of its rows."""
    facts = facts_of(dataset)
    train_set = place(dataset.train, replicated(mesh))
    test_set = [place(b, divided(mesh)) for b in padded(dataset.test, config, mesh)]

    def order(key: jax.Array, epoch: int) -> list[jax.Array]:
        return list(shuffled(config, facts.examples, key, epoch))

    placed_order = jax.jit(order, out_shardings=divided(mesh))

    def train(first_epoch: int) -> Iterator[Iterable[tuple]]:
        for epoch in range(first_epoch, config.epochs):
            yield [(train_set, rows) for rows in placed_order(key, epoch)]

    return Feed(facts, train, lambda: test_set, select_rows)


def streamed(config: ConfigDict, mesh: Mesh) -> Feed:
    """ImageNet, of which each process reads and decodes its own part."""
    if config.label_noise:
        raise ValueError("label_noise is for data sets that fit in memory.")
    splits = imagenet.open_splits(config.data_dir, config.validation, config.train_examples)
    facts, size = streamed_facts(config, splits), config.image_size
    steps = steps_per_epoch(config, facts.examples)
    batches = imagenet.train_batches(splits.train, config.batch_size, config.seed, image_size=size)
    eval_size = rounded_up(config.eval_batch_size, mesh.size)
    test_batches = imagenet.eval_batches(splits.test, eval_size, image_size=size)

    def train(first_epoch: int) -> Iterator[Iterable[tuple]]:
        stream = imagenet.stream(batches[first_epoch * steps :], config.workers)
        for _ in range(first_epoch, config.epochs):
            yield ((from_each_process(batch, mesh),) for batch in islice(stream, steps))

    def test() -> Iterator[Examples]:
        for batch in imagenet.stream(test_batches, config.workers):
            yield from_each_process(batch, mesh)

    return Feed(facts, train, test, lambda batch: batch)


def streamed_facts(config: ConfigDict, splits: imagenet.Splits) -> Facts:
    """The facts about ImageNet."""
    return Facts(
        examples=len(splits.train),
        image_shape=(config.image_size, config.image_size, 3),
        num_classes=imagenet.NUM_CLASSES,
        augment=False,  # the host crops and flips
        **_scale(config, imagenet.MEAN, imagenet.STD),
    )


def _scale(config: ConfigDict, mean: np.ndarray, std: np.ndarray) -> dict[str, np.ndarray]:
    """What images are normalized with: the set's mean and deviation, or what weights are used to.

    The released ViTs were trained on images from -1 to 1.
    """
    if config.pretrained:
        mean = std = np.full_like(mean, 255 / 2)
    return {"mean": mean, "std": std}


def padded(test: Examples, config: ConfigDict, mesh: Mesh) -> Iterator[Examples]:
    """Batches of one size that the devices divide, filled up with examples that are labelled -1."""
    size = rounded_up(min(config.eval_batch_size, len(test.labels)), mesh.size)
    for start in range(0, len(test.labels), size):
        images, labels = (x[start : start + size] for x in test)
        missing = size - len(labels)
        yield Examples(
            np.pad(images, ((0, missing), *((0, 0),) * 3)),
            np.pad(labels, (0, missing), constant_values=-1),
        )
