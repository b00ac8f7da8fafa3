"""Tiny-ImageNet: 200 classes of 64x64 color images, 500 each to train on and 50 to test on.

Read from the official folder, unpacked from ``tiny-imagenet-200.zip``::

    tiny-imagenet-200/
      wnids.txt                        # the classes, one WordNet id a line
      train/<wnid>/images/*.JPEG
      val/images/*.JPEG
      val/val_annotations.txt          # file name, wnid, bounding box; separated by tabs

The official validation set is the test set here: the labels of the official test set were never
published.
"""

import os
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import logging
from PIL import Image

from experiments.data.dataset import Dataset, Examples
from experiments.storage import disk

FOLDER = "tiny-imagenet-200"
_SIZE = 64
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_CACHE = "decoded-{}.npz"


def load(data_dir: str | None = None) -> Dataset:
    """Reads the whole dataset; decoded images are cached in a file next to them.

    Args:
      data_dir: the folder ``tiny-imagenet-200``, or the one that it is in; default None: the
        current folder.

    Raises:
      FileNotFoundError: if the folder, or a part of it, is missing.
      ValueError: if an image cannot be decoded or has another size, or a label is unknown.
    """
    folder = _find(Path(data_dir or "."))
    wnids = _text(folder / "wnids.txt").split()
    train = [
        (path, label)
        for label, wnid in enumerate(wnids)
        for path in _images(folder / "train" / wnid / "images")
    ]
    return Dataset(
        train=_read(folder, "train", train),
        test=_read(folder, "val", _validation(folder / "val", wnids)),
        num_classes=len(wnids),
        mean=255 * np.array(_MEAN, np.float32),
        std=255 * np.array(_STD, np.float32),
        augment=True,
    )


def _find(data_dir: Path) -> Path:
    for folder in (data_dir, data_dir / FOLDER):
        if (folder / "wnids.txt").exists():
            return folder
    raise FileNotFoundError(
        f"no Tiny-ImageNet in {data_dir}: no {FOLDER}/wnids.txt. Unpack {FOLDER}.zip (from "
        "cs231n.stanford.edu) there, or pass its folder as data_dir."
    )


def _text(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: {FOLDER} is incomplete.")
    return path.read_text(encoding="utf-8")


def _images(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.JPEG"))
    if not paths:
        raise FileNotFoundError(f"{folder} has no *.JPEG files: {FOLDER} is incomplete.")
    return paths


def _validation(folder: Path, wnids: list[str]) -> list[tuple[Path, int]]:
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    examples = []
    for line in _text(folder / "val_annotations.txt").splitlines():
        name, wnid, *_ = line.split("\t")
        if wnid not in labels:
            raise ValueError(f"{folder / 'val_annotations.txt'}: unknown class {wnid!r} of {name}.")
        examples.append((folder / "images" / name, labels[wnid]))
    return examples


def _read(folder: Path, split: str, examples: list[tuple[Path, int]]) -> Examples:
    """The decoded images of a split, from the cache if it is one of these files."""
    cache, key = folder / _CACHE.format(split), _fingerprint(examples)
    if cache.exists() and (cached := _load(cache, key)):
        return cached
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside of Python's lock
        images = np.stack(list(pool.map(_decode, [path for path, _ in examples])))
    labels = np.array([label for _, label in examples], np.int32)
    if os.access(folder, os.W_OK):
        with disk.replacing(cache) as draft, open(draft, "wb") as file:
            np.savez(file, images=images, labels=labels, key=key)
    return Examples(images, labels)


def _load(cache: Path, key: int) -> Examples | None:
    """The cached images; None if they are those of other files, or damaged."""
    try:
        with np.load(cache) as saved:
            if saved["key"] == key:
                return Examples(saved["images"], saved["labels"])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        logging.warning("%s is damaged; decoding the images again.", cache)
    return None


def _decode(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))  # 2% of the images are grey
    except OSError as error:  # Pillow's errors are among them
        raise ValueError(f"{path} cannot be decoded: {error}.") from error
    if pixels.shape != (_SIZE, _SIZE, 3):
        raise ValueError(f"{path} must be {_SIZE}x{_SIZE}, is {pixels.shape[1]}x{pixels.shape[0]}.")
    return pixels


def _fingerprint(examples: list[tuple[Path, int]]) -> int:
    """Checksum of names, sizes and labels: the cache of other files is not read."""
    text = "\n".join(f"{path.name} {path.stat().st_size} {label}" for path, label in examples)
    return zlib.crc32(text.encode())
