"""Data sets by name. A new one is a file with a ``load`` function and a row here.

ImageNet is none of them: ``imagenet.py`` streams it, for it does not fit in memory.
"""

from collections.abc import Callable, Mapping
from functools import partial

from experiments.configs.lookup import look_up
from experiments.data import cifar, digits, tiny_imagenet
from experiments.data.dataset import Dataset, Examples
from experiments.data.splits import flip_labels, hold_out, take

DATASETS: Mapping[str, Callable[[str | None], Dataset]] = {
    "cifar10": partial(cifar.load, "cifar10"),
    "cifar100": partial(cifar.load, "cifar100"),
    "digits": digits.load,
    "tiny_imagenet": tiny_imagenet.load,
}

__all__ = ["DATASETS", "Dataset", "Examples", "flip_labels", "hold_out", "load", "take"]


def load(name: str, data_dir: str | None = None) -> Dataset:
    """Returns the data set of that name, all of it in memory.

    Args:
      name: a key of ``DATASETS``.
      data_dir: where TFDS keeps its data, for the data sets that it prepares; unset, its default.

    Raises:
      ValueError: if there is no such data set.
      FileNotFoundError: if it has not been prepared; the message says how.
    """
    return look_up("dataset", name, DATASETS)(data_dir)
