"""Changes to a data set before training, each a pure function of the data and a seed."""

import numpy as np
from sklearn.model_selection import train_test_split

from experiments.data.dataset import Dataset, Examples


def hold_out(dataset: Dataset, share: float, seed: int = 0) -> Dataset:
    """Evaluates on a stratified share of the training set, in place of the test set.

    This is the split to choose learning rates and the like on. The test set is not looked at.

    Args:
      dataset: the data set.
      share: the share of the training examples to hold out, in [0, 1); 0 changes nothing.
      seed: decides which ones.
    """
    if not 0 <= share < 1:
        raise ValueError(f"validation must be a share in [0, 1), got {share}.")
    if share == 0:
        return dataset
    kept, held = train_test_split(
        np.arange(len(dataset.train.labels)),
        test_size=share,
        stratify=dataset.train.labels,
        random_state=seed,
    )
    train, test = (Examples(*(x[rows] for x in dataset.train)) for rows in (kept, held))
    return dataset._replace(train=train, test=test)


def take(dataset: Dataset, train_examples: int | None, seed: int = 0) -> Dataset:
    """Trains on some of the training examples, equally many of each class as far as there are.

    They come in the order of a fixed shuffle: 2,000 examples contain the 1,000 of the same seed.

    Args:
      dataset: the data set.
      train_examples: how many; None changes nothing.
      seed: decides which ones.
    """
    if train_examples is None:
        return dataset
    available = len(dataset.train.labels)
    if not 1 <= train_examples <= available:
        raise ValueError(f"train_examples must be in [1, {available}], got {train_examples}.")
    order = np.random.default_rng(seed).permutation(available)
    labels = dataset.train.labels[order]
    turn = np.empty(available, int)  # first each class's first example, then its second ...
    for label in range(dataset.num_classes):
        turn[labels == label] = np.arange(np.sum(labels == label))
    rows = order[np.argsort(turn, kind="stable")[:train_examples]]
    return dataset._replace(train=Examples(*(x[rows] for x in dataset.train)))


def flip_labels(dataset: Dataset, share: float, seed: int = 0) -> Dataset:
    """Gives a share of the training examples a wrong label: symmetric label noise.

    Args:
      dataset: the data set; its test labels stay clean.
      share: the share of the training labels to change, in [0, 1]. Each becomes one of the other
        classes, all equally likely.
      seed: decides which ones change, and into what.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"label_noise must be a share in [0, 1], got {share}.")
    rng = np.random.default_rng(seed)
    labels = dataset.train.labels.copy()
    rows = rng.choice(len(labels), round(share * len(labels)), replace=False)
    # A shift by 1..classes-1 reaches every class but the example's own.
    shifts = rng.integers(1, dataset.num_classes, len(rows), dtype=labels.dtype)
    labels[rows] = (labels[rows] + shifts) % dataset.num_classes
    return dataset._replace(train=dataset.train._replace(labels=labels))
