"""Datasets by name. A new one is a file with a ``load`` function and a row here.

ImageNet has no row: ``imagenet.py`` streams it, because it does not fit in memory.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from experiments.configs.lookup import import_function, unknown
from experiments.data.check import check_dataset
from experiments.data.dataset import Dataset, Examples
from experiments.data.images import cifar, digits, folder, tiny_imagenet
from experiments.data.splits import flip_labels, hold_out, refold, shrink, take

DATASETS: Mapping[str, Callable[[str | None], Dataset]] = {
    "cifar10": partial(cifar.load, "cifar10"),
    "cifar100": partial(cifar.load, "cifar100"),
    "digits": digits.load,
    "folder": folder.load,
    "tiny_imagenet": tiny_imagenet.load,
}

STREAMED = ("imagenet2012",)

__all__ = [
    "DATASETS",
    "STREAMED",
    "Dataset",
    "Examples",
    "decode",
    "find",
    "flip_labels",
    "hold_out",
    "load",
    "load_encoded",
    "names",
    "refold",
    "shrink",
    "take",
]


def names() -> list[str]:
    """The names that ``config.dataset`` may have, besides ``module:function``."""
    return sorted([*DATASETS, *STREAMED])


def find(name: str) -> Callable[[str | None], Dataset]:
    """The function that loads a dataset, ``data_dir -> Dataset``.

    Args:
      name: a key of ``DATASETS``, or ``module:function`` for a function of the user's.

    Raises:
      ValueError: if there is no such dataset.
    """
    name = str(name)  # None if the config has none
    if ":" in name:
        return import_function("dataset", name)
    if name not in DATASETS:
        raise ValueError(unknown("dataset", name, names()))
    return DATASETS[name]


def load(name: str, data_dir: str | None = None) -> Dataset:
    """Returns the dataset of that name, decoded, all of it in memory.

    Args:
      name: a key of ``DATASETS``, or ``module:function``.
      data_dir: folder or file with the data; default None: the default directory of TFDS.

    Raises:
      ValueError: if there is no such dataset, or a file is damaged.
      FileNotFoundError: if it is not there; the message says how to get it.
    """
    return decode(load_encoded(name, data_dir))


def load_encoded(name: str, data_dir: str | None = None) -> Dataset:
    """Like :func:`load`, but images may be encoded: select examples first, then :func:`decode`."""
    dataset = find(name)(data_dir)
    check_dataset(name, dataset)
    return dataset


def decode(dataset: Dataset) -> Dataset:
    """The dataset with its images as NumPy arrays."""
    fields = dataset._asdict().items()
    splits: Any = {
        key: x._replace(images=np.asarray(x.images)) for key, x in fields if isinstance(x, Examples)
    }
    return dataset._replace(**splits)
