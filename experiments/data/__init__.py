"""Data sets by name. A new one is a file with a ``load`` function and a row here."""

from collections.abc import Callable, Mapping

from experiments.data import digits
from experiments.data.dataset import Dataset, Examples
from experiments.data.edits import flip_labels, hold_out
from experiments.registry import look_up

DATASETS: Mapping[str, Callable[[], Dataset]] = {"digits": digits.load}

__all__ = ["DATASETS", "Dataset", "Examples", "flip_labels", "hold_out", "load"]


def load(name: str) -> Dataset:
    """Returns the data set of that name."""
    return look_up("dataset", name, DATASETS)()
