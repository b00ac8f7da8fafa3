"""Division of a series into training, validation and test part, and its scaling."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.data.series.table import Series


class Part(NamedTuple):
    """The windows of a part, which start at consecutive rows.

    Attributes:
      start: first row of the first window.
      windows: number of windows.
    """

    start: int
    windows: int


class Parts(NamedTuple):
    """A scaled series and the windows of its three parts.

    A window is a look-back and the horizon to predict from it. The horizon lies within its part;
    the look-back of the first windows of ``val`` and ``test`` reaches into the part before.

    Attributes:
      values: ``[time, channel]``, float32: mean 0 and deviation 1 in the rows to train on.
      train: the windows to train on.
      val: those to choose epoch and settings by.
      test: those of the reported errors.
    """

    values: np.ndarray
    train: Part
    val: Part
    test: Part


def divide(series: Series, split: Sequence[float], lookback: int, horizon: int) -> Parts:
    """Divides a series in the order of time and scales it.

    Args:
      series: the series.
      split: numbers of rows of training, validation and test part, from the first row on, or
        fractions of all rows. Rows after the test part are not used.
      lookback: rows that a model sees.
      horizon: rows that it predicts.

    Raises:
      ValueError: if the series has too few rows for the split, a part has too few for a window, or
        a channel is constant in the training part.
    """
    train, val, test = _rows(series, split)
    for name, rows, needed in (
        ("training", train, lookback + horizon),
        ("validation", val, horizon),
        ("test", test, horizon),
    ):
        if rows < needed:
            raise ValueError(
                f"the {name} part must have at least {needed} rows for lookback={lookback} and "
                f"horizon={horizon}, has {rows} by split={tuple(split)}."
            )
    seen = series.values[:train]
    for channel, column in zip(series.channels, seen.T, strict=True):
        if column.min() == column.max():
            raise ValueError(
                f"channel {channel!r} of {series.name} must vary in the training part, is "
                f"{column[0]} in each of its {train} rows; remove its column."
            )
    values = (series.values[: train + val + test] - seen.mean(0)) / seen.std(0)
    return Parts(
        values.astype(np.float32),
        Part(0, train - lookback - horizon + 1),
        Part(train - lookback, val - horizon + 1),
        Part(train + val - lookback, test - horizon + 1),
    )


def _rows(series: Series, split: Sequence[float]) -> list[int]:
    """The number of rows of each part."""
    available = len(series.values)
    if len(split) == 3 and all(type(x) is int and x >= 1 for x in split):
        if sum(split) > available:
            raise ValueError(
                f"{series.name} must have {sum(split)} rows for split={tuple(split)}, has "
                f"{available}; --config.split=0.7,0.1,0.2 are fractions of its rows."
            )
        return [int(x) for x in split]
    if len(split) == 3 and all(0 < x < 1 for x in split) and sum(split) < 1 + 1e-6:
        borders = np.round(np.cumsum([0, *split]) * available).astype(int)
        return np.diff(borders).tolist()
    raise ValueError(
        f"split must be three numbers of rows, or three fractions with a sum of at most 1, got "
        f"{tuple(split)}."
    )
