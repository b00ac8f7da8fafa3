"""What the figures of an analysis share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from experiments.analysis.measure import GroupResult, Result
from experiments.reporting.curves import draw_curve

_WIDTH, _HEIGHT = 4.6, 3.9  # inches of a panel
_LETTER = 0.085  # inches of a letter of the legend, about


def panels(count: int, columns: int = 3) -> tuple[Figure, list[plt.Axes]]:
    """A figure of so many panels, in rows of at most ``columns``, as equal as they can be."""
    rows = -(-count // columns)
    columns = -(-count // rows)
    # Room below for the legend, which is the same for few panels and for many.
    figure = plt.figure(figsize=(max(_WIDTH * columns, 6), _HEIGHT * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    figure.get_layout_engine().set(wspace=0.06, hspace=0.06)
    for axis in axes:
        axis.grid(alpha=0.3)
    return figure, axes


def legend(figure: Figure, results: Sequence[GroupResult], extra: Sequence[Line2D] = ()) -> None:
    """Names the groups below the panels."""
    handles = [
        Line2D([], [], color=color, linestyle=line, marker=marker, ms=5, label=result.name)
        for result in results
        for color, line, marker in [result.style]
    ]
    handles.extend(extra)
    longest = max(len(handle.get_label()) for handle in handles)
    columns = max(1, int(figure.get_figwidth() / (_LETTER * longest + 0.9)))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=4
    )


def values(entry: Any) -> np.ndarray:
    """An entry of a result as an array, NaN where it is None."""
    return np.array(entry, float)


def deviation(result: GroupResult, key: str) -> np.ndarray | None:
    """The standard deviation over the seeds; None for a single one."""
    return None if result.std[key] is None else values(result.std[key])


def curve(axis: plt.Axes, result: GroupResult, x: Any, key: str, scale: float = 1.0) -> None:
    """Draws an averaged entry over ``x``: a line, and a band of one standard deviation."""
    std = deviation(result, key)
    scaled = None if std is None else scale * std
    draw_curve(axis, values(x), scale * values(result.mean[key]), scaled, result.style)


def dots(
    axis: plt.Axes,
    results: Sequence[GroupResult],
    x: Callable[[Result], float | None],
    y: Callable[[Result], float | None],
) -> None:
    """Draws a small, hollow marker for each run and a large one, with deviations, for each group.

    Args:
      axis: where.
      results: of the groups.
      x: result of a run to its place on the horizontal axis.
      y: likewise.
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


def rows(
    axis: plt.Axes, results: Sequence[GroupResult], value: Callable[[Result], float | None]
) -> None:
    """Draws a number as ``dots``, in a row for each group from top to bottom."""
    for place, result in enumerate(results):
        dots(axis, [result], value, lambda run: place)
    axis.set_yticks([])
    axis.set_ylim(len(results) - 0.5, -0.5)


def logarithmic(axis: plt.Axes, which: str) -> None:
    """Makes the axis ``which``, "x" or "y", logarithmic, with plain numbers at it."""
    axis.set(**{f"{which}scale": "log"})
    ticks = {"x": axis.xaxis, "y": axis.yaxis}[which]
    ticks.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ticks.set_major_formatter(FormatStrFormatter("%g"))
    ticks.set_minor_formatter(NullFormatter())


def save(figure: Figure, folder: Path, name: str) -> None:
    """Writes the figure as PNG and as SVG, the same bytes for the same numbers."""
    figure.savefig(folder / f"{name}.png", dpi=150)
    with plt.rc_context({"svg.hashsalt": name}):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
