"""Figures of training curves, one or several runs."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import NamedTuple

import matplotlib
import numpy as np

matplotlib.use("Agg")  # files, not windows

from matplotlib.axes import Axes

# Colors that color-blind readers can tell apart; lines and markers for black and white. The cycles
# have different lengths, so that together they repeat only after many runs.
_COLORS = ["#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
_LINES = ["-", "--", "-.", ":"]
_MARKERS = ["o", "s", "^", "D", "v"]


class Style(NamedTuple):
    """Line style of a run or group of runs.

    Attributes:
      color: color of line and marker.
      line: line style of Matplotlib.
      marker: marker at some of the points.
    """

    color: str
    line: str
    marker: str


class Panel(NamedTuple):
    """One panel of a figure.

    Attributes:
      metric: key of the curves to draw.
      label: label of the vertical axis.
      scale: factor on the values, 100 for percent.
    """

    metric: str
    label: str
    scale: float = 1.0


def styles() -> Iterator[Style]:
    """Infinite cycle of line styles."""
    return map(Style, cycle(_COLORS), cycle(_LINES), cycle(_MARKERS))


def draw_curve(
    axis: Axes, x: np.ndarray, mean: np.ndarray, std: np.ndarray | None, style: Style
) -> None:
    """Draws a line at the mean, and a band of one standard deviation unless it is None."""
    every = max(1, len(x) // 8)
    color, line, marker = style
    axis.plot(x, mean, color=color, linestyle=line, marker=marker, markevery=every, ms=4)
    if std is not None:
        axis.fill_between(x, mean - std, mean + std, color=color, alpha=0.12, linewidth=0)


def zoom(axis: Axes, runs: Sequence[np.ndarray]) -> None:
    """Fits the vertical axis to all but the first fifth of the epochs."""
    late = np.concatenate([values[:, values.shape[1] // 5 :].ravel() for values in runs])
    late = late[np.isfinite(late)]
    if late.size:
        margin = 0.05 * np.ptp(late) + 1e-3
        axis.set_ylim(late.min() - margin, late.max() + margin)
