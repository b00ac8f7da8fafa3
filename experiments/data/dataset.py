"""What a data set is."""

from typing import NamedTuple

import numpy as np


class Examples(NamedTuple):
    """Images and their labels, as NumPy or as JAX arrays.

    Attributes:
      images: ``[example, height, width, channel]``, as stored: uint8, not normalized.
      labels: ``[example]``, int32, from 0.
    """

    images: np.ndarray
    labels: np.ndarray


class Dataset(NamedTuple):
    """A classification task.

    Attributes:
      train: what is trained on.
      test: what is evaluated on, after training and never for choosing anything.
      num_classes: number of classes.
      mean: mean of the training images per channel, in their units.
      std: standard deviation likewise. Models see ``(images - mean) / std``.
      augment: whether it is usual to train on random crops and flips of the images.
    """

    train: Examples
    test: Examples
    num_classes: int
    mean: np.ndarray
    std: np.ndarray
    augment: bool = False
