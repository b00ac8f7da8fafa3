"""Held-out split, subset and label noise, each a pure function of the dataset and a seed.

Scikit-learn is imported where it is used: it takes a second, and most runs do not need it.
"""

import numpy as np

from experiments.data.dataset import Dataset, Examples

FOLDS = 5


def refold(dataset: Dataset, fold: int | None, seed: int = 0) -> Dataset:
    """Deals all examples into five stratified folds, one of which becomes the test set.

    Five runs, one a fold, test every example once: for datasets whose test set is small.

    Args:
      dataset: the dataset.
      fold: the fold to test on, from 0; None keeps the published test set.
      seed: determines the folds.
    """
    if fold is None:
        return dataset
    if not 0 <= fold < FOLDS:
        raise ValueError(f"fold must be in [0, {FOLDS - 1}], got {fold}.")
    images, labels = (
        np.concatenate([np.asarray(a), np.asarray(b)])
        for a, b in zip(dataset.train, dataset.test, strict=True)
    )
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(images, labels)
    train, test = list(folds)[fold]
    return dataset._replace(
        train=Examples(images[train], labels[train]), test=Examples(images[test], labels[test])
    )


def shrink(dataset: Dataset, factor: int) -> Dataset:
    """Replaces each block of ``factor`` x ``factor`` pixels by its mean, rounded.

    Smaller images make a real dataset affordable on a CPU. Normalization keeps the mean and
    deviation of the images in full size.

    Args:
      dataset: the dataset, decoded.
      factor: a divisor of height and width; 1 changes nothing.
    """
    if factor == 1:
        return dataset
    height, width = dataset.train.images.shape[1:3]
    if factor < 1 or height % factor or width % factor:
        raise ValueError(
            f"shrink must divide height and width, {height} and {width}, got {factor}."
        )

    def means(images: np.ndarray) -> np.ndarray:
        blocks = images.reshape(
            len(images), height // factor, factor, width // factor, factor, -1
        ).astype(np.float32)
        return np.round(blocks.mean(axis=(2, 4))).astype(images.dtype)

    splits = {
        name: split._replace(images=means(split.images))
        for name in ("train", "val", "test")
        if (split := getattr(dataset, name)) is not None
    }
    return dataset._replace(**splits)


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
    from sklearn.model_selection import train_test_split

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
