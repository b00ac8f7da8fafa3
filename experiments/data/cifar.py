"""CIFAR-10 and CIFAR-100: 32x32 color images, 50,000 to train on and 10,000 to test on."""

import numpy as np

from experiments.data.dataset import Dataset, Examples
from experiments.data.prepared import open_split


def load_cifar10(data_dir: str | None = None) -> Dataset:
    """CIFAR-10, from a directory of TFDS."""
    return Dataset(
        train=_read("cifar10", "train", data_dir),
        test=_read("cifar10", "test", data_dir),
        num_classes=10,
        mean=255 * np.float32([0.4914, 0.4822, 0.4465]),
        std=255 * np.float32([0.2471, 0.2435, 0.2616]),
        augment=True,
    )


def load_cifar100(data_dir: str | None = None) -> Dataset:
    """CIFAR-100 with its 100 fine labels, from a directory of TFDS."""
    return Dataset(
        train=_read("cifar100", "train", data_dir),
        test=_read("cifar100", "test", data_dir),
        num_classes=100,
        mean=255 * np.float32([0.5071, 0.4867, 0.4408]),
        std=255 * np.float32([0.2675, 0.2565, 0.2761]),
        augment=True,
    )


def _read(name: str, split: str, data_dir: str | None) -> Examples:
    """Decodes a whole split: some seconds."""
    source = open_split(name, split, data_dir)
    # One read of many records is twice as fast as many reads. Threads would not help: decoding
    # such small images is Python's overhead for the most part.
    rows = source.__getitems__(range(len(source)))
    return Examples(
        images=np.stack([row["image"] for row in rows]),
        labels=np.array([row["label"] for row in rows], np.int32),
    )
