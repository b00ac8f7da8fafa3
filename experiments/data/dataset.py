"""Containers of examples and datasets, and padding."""

from typing import Any, NamedTuple

import numpy as np

Array = Any  # NumPy's or JAX's
PADDING = -1  # the label of examples that only pad a batch; they are not counted


class Examples(NamedTuple):
    """Images and their labels, as NumPy or JAX arrays.

    Attributes:
      images: ``[example, height, width, channel]``, as stored: uint8, not normalized.
      labels: ``[example]``, int32, from 0; or ``PADDING``.
    """

    images: Array
    labels: Array


class Dataset(NamedTuple):
    """A dataset for image classification.

    Attributes:
      train: examples to train on.
      test: examples to evaluate on, after training and never for choosing anything.
      num_classes: number of classes.
      mean: mean of the training images per channel, in their units.
      std: their standard deviation per channel. Models see ``(images - mean) / std``.
      augment: whether random crops and flips of the images are usual in training.
      val: examples held out of the training set to choose settings on, if any.
    """

    train: Examples
    test: Examples
    num_classes: int
    mean: np.ndarray
    std: np.ndarray
    augment: bool = False
    val: Examples | None = None


class DatasetInfo(NamedTuple):
    """Static properties of a dataset.

    Attributes:
      num_examples: number of training examples.
      image_shape: height, width and channels.
      num_classes: number of classes.
      mean: mean of the stored images, per channel.
      std: their standard deviation, per channel.
      augment: whether to crop and flip images in the training step.
    """

    num_examples: int
    image_shape: tuple[int, int, int]
    num_classes: int
    mean: np.ndarray
    std: np.ndarray
    augment: bool


def info_of(dataset: Dataset) -> DatasetInfo:
    """The static properties of a dataset in memory."""
    images = dataset.train.images
    return DatasetInfo(
        len(images),
        images.shape[1:],
        dataset.num_classes,
        dataset.mean,
        dataset.std,
        dataset.augment,
    )


def pad(examples: Examples, size: int) -> Examples:
    """Pads to ``size`` examples with black images that are labelled ``PADDING``."""
    missing = size - len(examples.labels)
    return Examples(
        np.pad(examples.images, ((0, missing), *((0, 0),) * 3)),
        np.pad(examples.labels, (0, missing), constant_values=PADDING),
    )
