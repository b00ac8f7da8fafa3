"""A folder of one's own images: ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``.

Images may have any size, mode and format that Pillow reads. Each becomes the 64x64 pixels of its
central square, in RGB, in memory. Classes are numbered in the order of their names.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.data.dataset import Dataset, Examples
from experiments.data.images import crops

SIZE = 64


def load(data_dir: str | None = None) -> Dataset:
    """Reads the images below ``train`` and ``test`` (or ``val``, if there is no ``test``).

    Raises:
      FileNotFoundError: if ``data_dir`` has no such folders.
      ValueError: if a class has no images or is in ``test`` only, or an image cannot be read; the
        message has the path.
    """
    root = Path(data_dir or ".")
    test_name = "test" if (root / "test").is_dir() else "val"
    for split in ("train", test_name):
        if data_dir is None or not (root / split).is_dir():
            raise FileNotFoundError(
                "dataset 'folder' needs --config.data_dir with images in train/CLASS/ and "
                f"test/CLASS/, got {data_dir!r}."
            )
    names = [path.name for path in _folders(root / "train")]
    train, test = _read(root / "train", names), _read(root / test_name, names)
    return Dataset(
        train=train,
        test=test,
        num_classes=len(names),
        mean=train.images.mean(axis=(0, 1, 2), dtype=np.float64).astype(np.float32),
        # Black images have no deviation, and nothing to divide by.
        std=np.maximum(train.images.std(axis=(0, 1, 2), dtype=np.float64), 1).astype(np.float32),
        augment=True,
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read(folder: Path, names: list[str]) -> Examples:
    files, labels = [], []
    for path in _folders(folder):
        if path.name not in names:
            raise ValueError(f"{path} is a class without training images; train has {names}.")
        images = [p for p in sorted(path.iterdir()) if _is_image(p)]
        if not images:
            raise ValueError(f"{path} has no images.")
        files += images
        labels += [names.index(path.name)] * len(images)
    if not files:
        raise ValueError(f"{folder} has no folders of classes.")
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside of Python's lock
        pixels = np.stack(list(pool.map(_decode, files)))
    return Examples(pixels, np.array(labels, np.int32))


def _is_image(path: Path) -> bool:
    hidden = path.name.startswith(".")  # such as macOS's ._* and .DS_Store
    return not hidden and path.suffix.lower() in Image.registered_extensions()


def _decode(path: Path) -> np.ndarray:
    image = crops.decode(path.read_bytes(), str(path))
    return crops.resized(image, crops.central_box(*image.size, fraction=1.0), SIZE)
