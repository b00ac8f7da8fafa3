"""Held-out split, subset and label noise, each a pure function of the dataset and a seed."""

import numpy as np
from sklearn.model_selection import train_test_split

from experiments.data.dataset import Dataset, Examples


def hold_out(dataset: Dataset, fraction: float, seed: int = 0) -> Dataset:
    """Holds a stratified fraction of the training set out, as ``dataset.val``.

    This is the split to choose learning rates and the like on.

    Args:
      dataset: the dataset.
      fraction: fraction of the training examples to hold out, in [0, 1); 0 changes nothing.
      seed: determines which ones.
    """
    check_fraction("validation", fraction)
    if fraction == 0:
        return dataset
    kept, held = train_test_split(
        np.arange(len(dataset.train.labels)),
        test_size=fraction,
        stratify=dataset.train.labels,
        random_state=seed,
    )
    train, val = (Examples(*(x[rows] for x in dataset.train)) for rows in (kept, held))
    return dataset._replace(train=train, val=val)


def check_fraction(name: str, value: float) -> None:
    """Raises ValueError unless the value is in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be a fraction in [0, 1), got {value}.")


def take(dataset: Dataset, train_examples: int | None, seed: int = 0) -> Dataset:
    """Keeps a subset of the training examples, balanced over the classes as far as possible.

    They come in the order of a fixed shuffle: 2,000 examples contain the 1,000 of the same seed.

    Args:
      dataset: the dataset.
      train_examples: number of examples to keep; None changes nothing.
      seed: determines which ones.
    """
    if train_examples is None:
        return dataset
    available = len(dataset.train.labels)
    if not 1 <= train_examples <= available:
        raise ValueError(f"train_examples must be in [1, {available}], got {train_examples}.")
    order = np.random.default_rng(seed).permutation(available)
    labels = dataset.train.labels[order]
    rank_within_class = np.empty(available, int)
    for label in range(dataset.num_classes):
        rank_within_class[labels == label] = np.arange(np.sum(labels == label))
    # First each class's first example, then its second ...
    rows = order[np.argsort(rank_within_class, kind="stable")[:train_examples]]
    return dataset._replace(train=Examples(*(x[rows] for x in dataset.train)))


def flip_labels(dataset: Dataset, fraction: float, seed: int = 0) -> Dataset:
    """Gives a fraction of the training examples a wrong label: symmetric label noise.

    Args:
      dataset: the dataset; its test labels and held-out labels stay clean.
      fraction: fraction of the training labels to change, in [0, 1]. Each becomes one of the other
        classes, all equally likely.
      seed: determines which ones change, and into what.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"label_noise must be a fraction in [0, 1], got {fraction}.")
    rng = np.random.default_rng(seed)
    labels = dataset.train.labels.copy()
    rows = rng.choice(len(labels), round(fraction * len(labels)), replace=False)
    # A shift by 1..classes-1 reaches every class but the example's own.
    shifts = rng.integers(1, dataset.num_classes, len(rows), dtype=labels.dtype)
    labels[rows] = (labels[rows] + shifts) % dataset.num_classes
    return dataset._replace(train=dataset.train._replace(labels=labels))
