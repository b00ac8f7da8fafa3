"""Checks of a dataset before anything is trained on it: what would give a NaN or a wrong score."""

from typing import Any

import numpy as np

from experiments.data.dataset import Dataset, Examples


def check_dataset(name: str, dataset: Any) -> None:
    """Raises a ValueError that names the field unless ``dataset`` is a valid ``Dataset``.

    Images may still be encoded.
    """
    if not isinstance(dataset, Dataset):
        raise ValueError(f"dataset {name!r} must return a Dataset, got {type(dataset).__name__}.")
    where = f"dataset {name!r}: "
    for split in ("train", "test", "val"):
        examples = getattr(dataset, split)
        if examples is not None:
            _check_examples(f"{where}{split}", examples, dataset.num_classes)
    shape = dataset.train.images.shape[1:]
    for split in ("test", "val"):
        examples = getattr(dataset, split)
        if examples is not None and examples.images.shape[1:] != shape:
            raise ValueError(
                f"{where}{split} images must have the shape of the training images, {shape}, got "
                f"{examples.images.shape[1:]}."
            )
    for field in ("mean", "std"):
        values = np.asarray(getattr(dataset, field))
        positive = field == "mean" or (values > 0).all()
        if values.shape not in ((), shape[-1:]) or not np.isfinite(values).all() or not positive:
            raise ValueError(
                f"{where}{field} must be finite{' and > 0' if field == 'std' else ''}, one number "
                f"for each of {shape[-1]} channels, in the units of the images; got {values}."
            )


def _check_examples(where: str, examples: Examples, num_classes: int) -> None:
    images, labels = examples.images, np.asarray(examples.labels)
    if len(images.shape) != 4 or images.shape[0] == 0:
        raise ValueError(
            f"{where} images must have the shape (examples, height, width, channels), got "
            f"{images.shape}."
        )
    if not (np.issubdtype(images.dtype, np.number) and np.isrealobj(np.empty(0, images.dtype))):
        raise ValueError(f"{where} images must be real numbers, such as uint8, got {images.dtype}.")
    if np.issubdtype(images.dtype, np.floating) and not np.isfinite(images).all():
        raise ValueError(f"{where} images must be finite, but some are NaN or infinite.")
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{where} labels must be integers of shape ({len(images)},), one for each image; got "
            f"{labels.dtype} of shape {labels.shape}."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{where} labels must be from 0 to {num_classes - 1}, as num_classes is {num_classes}; "
            f"they are from {low} to {high}."
        )
