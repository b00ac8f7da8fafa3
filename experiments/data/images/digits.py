"""Scikit-learn's digits: 1,797 real 8x8 images of handwritten digits, shipped in that package."""

import numpy as np

from experiments.data.dataset import Dataset, Examples

_SPLIT_SEED = 0  # of the dataset, not of a run: every run sees the same test images


def load(data_dir: str | None = None) -> Dataset:
    """The digits, with 20% of each class as the test set; ``data_dir`` is ignored."""
    # Not at the top: scikit-learn and SciPy take a second and a half of every other command.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    del data_dir
    images, labels = load_digits(return_X_y=True)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images.reshape(-1, 8, 8, 1).astype(np.uint8),
        labels.astype(np.int32),
        test_size=0.2,
        stratify=labels,
        random_state=_SPLIT_SEED,
    )
    return Dataset(
        train=Examples(train_images, train_labels),
        test=Examples(test_images, test_labels),
        num_classes=10,
        mean=train_images.mean(axis=(0, 1, 2), dtype=np.float32),
        std=train_images.std(axis=(0, 1, 2), dtype=np.float32),
    )
