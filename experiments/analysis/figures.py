"""Panels, legends, curves and dots of the figures of an analysis."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from experiments.analysis.measure import GroupResult, RunResult
from experiments.reporting.curves import draw_curve

_WIDTH, _HEIGHT = 4.6, 3.9  # of a panel, in inches
_LETTER = 0.085  # average width of a letter of the legend, in inches


def panels(num_panels: int, max_columns: int = 3) -> tuple[Figure, list[Axes]]:
    """Makes a figure of panels in balanced rows of at most ``max_columns``."""
    rows = math.ceil(num_panels / max_columns)
    columns = math.ceil(num_panels / rows)
    # At least 6 inches wide, to leave room for the legend below a single panel.
    figure = plt.figure(figsize=(max(_WIDTH * columns, 6), _HEIGHT * rows))
    figure.set_layout_engine("constrained", wspace=0.06, hspace=0.06)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(num_panels)]
    for axis in axes:
        axis.grid(alpha=0.3)
    return figure, axes


def legend(figure: Figure, results: Sequence[GroupResult], extra: Sequence[Line2D] = ()) -> None:
    """Adds a legend of the groups below the panels."""
    handles = [
        Line2D([], [], color=color, linestyle=line, marker=marker, ms=5, label=result.name)
        for result in results
        for color, line, marker in [result.style]
    ]
    handles.extend(extra)
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, int(figure.get_figwidth() / (_LETTER * longest + 0.9)))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=4
    )


def values(entry: Any) -> np.ndarray:
    """Converts an entry of a result to an array, None to NaN."""
    return np.array(entry, float)


def deviation(result: GroupResult, key: str) -> np.ndarray | None:
    """The standard deviation over seeds; None for a single seed."""
    return None if result.std[key] is None else values(result.std[key])


def curve(axis: Axes, result: GroupResult, x: Any, key: str, scale: float = 1.0) -> None:
    """Draws an averaged entry over ``x`` as a line with a band of one standard deviation."""
    std = deviation(result, key)
    scaled = None if std is None else scale * std
    draw_curve(axis, values(x), scale * values(result.mean[key]), scaled, result.style)


def dots(
    axis: Axes,
    results: Sequence[GroupResult],
    x: Callable[[RunResult], float | None],
    y: Callable[[RunResult], float | None],
) -> None:
    """Draws a small, hollow marker per run and a large one, with error bars, per group.

    Args:
      axis: axes to draw into.
      results: results of the groups.
      x: ``(run_result) -> horizontal coordinate``.
      y: ``(run_result) -> vertical coordinate``.
    """
    for result in results:
        color, _, marker = result.style
        each = values([[x(run), y(run)] for run in result.runs])
        mean = each.mean(axis=0)
        if len(each) > 1:
            axis.plot(*each.T, marker, color=color, markerfacecolor="none", ms=4, alpha=0.6)
            std = each.std(axis=0, ddof=1)
            axis.errorbar(*mean, xerr=std[0], yerr=std[1], color=color, linewidth=1, capsize=2)
        axis.plot(*mean, marker, color=color, ms=8)


def dot_rows(
    axis: Axes, results: Sequence[GroupResult], value: Callable[[RunResult], float | None]
) -> None:
    """Draws a number with :func:`dots`, one row per group from top to bottom."""
    for row, result in enumerate(results):
        dots(axis, [result], value, lambda run: row)
    axis.set_yticks([])
    axis.set_ylim(len(results) - 0.5, -0.5)


def logarithmic(axis: Axes, which: str) -> None:
    """Makes the axis ``which`` ("x" or "y") logarithmic, with plain numbers as tick labels."""
    axis.set(**{f"{which}scale": "log"})
    ticks = {"x": axis.xaxis, "y": axis.yaxis}[which]
    ticks.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ticks.set_major_formatter(FormatStrFormatter("%g"))
    ticks.set_minor_formatter(NullFormatter())


def save(figure: Figure, folder: Path, name: str) -> None:
    """Writes the figure as PNG and SVG, deterministically: equal numbers give equal bytes."""
    figure.savefig(folder / f"{name}.png", dpi=150)
    with plt.rc_context({"svg.hashsalt": name}):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
