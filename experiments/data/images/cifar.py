"""CIFAR-10 and CIFAR-100: 32x32 color images, 50,000 to train on and 10,000 to test on.

They are read from what ``data_dir`` is or holds: an official archive (Python or binary version,
packed or unpacked), a file ``cifar10.npz`` or ``cifar100.npz``, or a directory of TFDS.
"""

from pathlib import Path

import numpy as np

from experiments.data.dataset import Dataset, Examples
from experiments.data.images import cifar_archives
from experiments.data.images.encoded import EncodedImages
from experiments.data.images.tfds_source import open_split, read_rows

# Number of classes (CIFAR-100's are the fine ones), mean and standard deviation of each channel.
_FACTS = {
    "cifar10": (10, (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar100": (100, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
_SHAPE = (32, 32, 3)


def load(name: str, data_dir: str | None = None) -> Dataset:
    """Reads CIFAR-10 or CIFAR-100.

    Args:
      name: "cifar10" or "cifar100".
      data_dir: file or folder; default None: the directory of TFDS.

    Raises:
      FileNotFoundError: if it is not there; the message says how to get it.
      ValueError: if a file is damaged; the message has its path.
    """
    num_classes, mean, std = _FACTS[name]
    train, test = _read(name, data_dir)
    for examples in train, test:
        if not 0 <= examples.labels.min() <= examples.labels.max() < num_classes:
            raise ValueError(f"{data_dir}: labels of {name} must be in [0, {num_classes}).")
    return Dataset(
        train=train,
        test=test,
        num_classes=num_classes,
        mean=255 * np.array(mean, np.float32),
        std=255 * np.array(std, np.float32),
        augment=True,
    )


def _read(name: str, data_dir: str | None) -> tuple[Examples, Examples]:
    if data_dir is not None:
        for path in (Path(data_dir), Path(data_dir) / f"{name}.npz"):
            if path.suffix == ".npz" and path.exists():
                return _read_npz(path)
        if (archive := cifar_archives.find(name, Path(data_dir))) is not None:
            return archive.read()
    try:
        return _read_tfds(name, "train", data_dir), _read_tfds(name, "test", data_dir)
    except FileNotFoundError as error:
        official = " or ".join(cifar_archives.names(name))
        raise FileNotFoundError(
            f"{error}\nOr put {official} (www.cs.toronto.edu/~kriz/cifar.html) into "
            "--config.data_dir, which needs nothing else."
        ) from error


def _read_npz(path: Path) -> tuple[Examples, Examples]:
    """Arrays ``train_images``, ``train_labels``, ``test_images`` and ``test_labels``."""
    try:
        with np.load(path, allow_pickle=False) as file:
            splits = [(file[f"{s}_images"], file[f"{s}_labels"]) for s in ("train", "test")]
    except OSError:
        raise
    except Exception as error:  # what NumPy, zipfile and zlib raise for damaged files
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}.") from error
    for images, labels in splits:
        if images.dtype != np.uint8 or images.shape != (len(labels), *_SHAPE):
            raise ValueError(
                f"{path}: images must be uint8 of shape (examples, 32, 32, 3) with a label each, "
                f"got {images.dtype} of shape {images.shape} and {len(labels)} labels."
            )
    train, test = (Examples(images, labels.astype(np.int32)) for images, labels in splits)
    return train, test


def _read_tfds(name: str, split: str, data_dir: str | None) -> Examples:
    """Reads a whole split, some seconds; decoding it all would take three times as long."""
    source = open_split(name, split, data_dir)
    rows = read_rows(source, f"{name} {split}")
    return Examples(
        images=EncodedImages([row["image"] for row in rows], f"{name} {split}"),
        labels=np.array([row["label"] for row in rows], np.int32),
    )
