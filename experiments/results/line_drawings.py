"""Figures of items with lines: over a parameter or a coordinate, and of two metrics.

Each function returns ``draw(result) -> figure``, as in :mod:`experiments.results.drawings`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.results import figures
from experiments.results.drawings import Draw, drawn_rows, metric_of
from experiments.results.figures import Style
from experiments.results.item import Result, ResultRow
from experiments.results.row import Params
from experiments.results.stats import Summary


class Line(NamedTuple):
    """Rows of a panel that differ in one parameter only, or a single row.

    Attributes:
      label: its name in the legend.
      style: its style, the same in all panels.
      rows: the rows, in ascending order of that parameter.
    """

    label: str
    style: Style
    rows: Sequence[ResultRow]


def lines(
    name: str, x: str, *, log_x: bool = False, legend: Callable[[Params], str] | None = None
) -> Draw:
    """A metric over a parameter; rows without it are horizontal lines.

    Args:
      name: the metric.
      x: the parameter.
      log_x: a logarithmic horizontal axis.
      legend: ``params -> str``, the names of the legend; by default those of the table.
    """

    def draw(result: Result) -> Figure:
        panels, named = _lines(result, [x], legend)
        figure, axes = figures.panels(list(panels))
        for axis, panel in zip(axes, panels.values(), strict=True):
            ticks = sorted(
                {r.row.params[x] for line in panel for r in line.rows if x in r.row.params}
            )
            for line in panel:
                points = [each.table.summary(name) for each in line.rows]
                means = [found.mean for found in points if found]
                if x not in line.rows[0].row.params:
                    axis.axhline(means[0], color=line.style.color, linestyle=line.style.line)
                    continue
                places = [
                    r.row.params[x] for r, found in zip(line.rows, points, strict=True) if found
                ]
                figures.bars(axis, places, means, line.style, yerr=_errors(points))
            if log_x:
                axis.set_xscale("log")
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.minorticks_off()
            axis.set(xlabel=x, ylabel=metric_of(result, name).label)
        figures.legend(figure, named)
        return figure

    return draw


def over(
    *names: str,
    x: str,
    x_label: str,
    log_x: bool = False,
    log_y: bool = False,
    bands: bool = False,
    chosen: Callable[[Params, str], bool] = lambda params, name: True,
    legend: Callable[[Params], str] | None = None,
    hidden: Sequence[str] = (),
) -> Draw:
    """Curves over a coordinate: a panel for each of the item's and each metric.

    Args:
      *names: the metrics.
      x: the coordinate.
      x_label: label of the horizontal axis.
      log_x: logarithmic horizontal axes.
      log_y: logarithmic vertical axes. Bars are then the range over seeds, which is positive.
      bands: bands of one deviation in place of bars.
      chosen: ``(params, metric) -> bool``, whether a panel shows the metric.
      legend: ``params -> str``, the names of the legend; by default those of the table.
      hidden: parameters that the legend leaves out.
    """

    def draw(result: Result) -> Figure:
        panels, named = _lines(result, [], legend, hidden)
        shown = [
            (heading, name, panel)
            for heading, panel in panels.items()
            for name in names
            if chosen(panel[0].rows[0].row.params, name)
        ]
        columns = len(names) if 1 < len(names) < len(shown) else None  # a metric for each column
        figure, axes = figures.panels([heading for heading, *_ in shown], columns=columns)
        for axis, (_, name, panel) in zip(axes, shown, strict=True):
            for line in panel:
                _draw_curve(axis, line, name, x, log_y, bands)
            label = metric_of(result, name).label
            if log_x:
                figures.logarithmic(axis, "x")
            if log_y:
                figures.logarithmic(axis, "y")
                label += "\n(bars: range over seeds)"
            axis.set(xlabel=x_label, ylabel=label)
        figures.legend(figure, named)
        return figure

    return draw


def scatter(x_name: str, y_name: str, x: str) -> Draw:
    """Two metrics; the points of a line are joined and grow with a parameter."""

    def draw(result: Result) -> Figure:
        panels, named = _lines(result, [x])
        figure, axes = figures.panels(list(panels))
        for axis, panel in zip(axes, panels.values(), strict=True):
            for line in panel:
                points = [[r.table.summary(name) for r in line.rows] for name in (x_name, y_name)]
                xs, ys = ([found.mean for found in each if found] for each in points)
                errors = {"xerr": _errors(points[0]), "yerr": _errors(points[1])}
                joined = line.style._replace(line=":", marker="")
                figures.bars(axis, xs, ys, joined, **errors)
                sizes = 25 + 30 * np.arange(len(xs))
                axis.scatter(xs, ys, sizes, color=line.style.color, marker=line.style.marker)
            labels = [metric_of(result, name).label for name in (x_name, y_name)]
            axis.set(xlabel=labels[0], ylabel=f"{labels[1]}\n(larger points: larger {x})")
        figures.legend(figure, {name: s._replace(line=":") for name, s in named.items()})
        return figure

    return draw


def _lines(
    result: Result,
    over: Sequence[str],
    legend: Callable[[Params], str] | None = None,
    hidden: Sequence[str] = (),
) -> tuple[dict[str, list[Line]], dict[str, Style]]:
    """The lines of each panel over a parameter, if one is given, and the styles of the legend."""
    rows = [each.row for each in result.rows]
    labels = result.item.labels(rows, [*over, *hidden], legend)
    by_row = {id(row): label for row, label in zip(rows, labels, strict=True)}
    drawn = drawn_rows(result)
    methods: dict[str, str] = {}
    for each in (each for panel in drawn.values() for each in panel):
        methods.setdefault(by_row[id(each.row)], each.row.params["method"])
    named = dict(zip(methods, figures.styles(list(methods.values())), strict=True))
    panels: dict[str, list[Line]] = {}
    for heading, panel in drawn.items():
        groups: dict[tuple, list[ResultRow]] = {}
        for each in panel:
            others = tuple((key, v) for key, v in each.row.params.items() if key not in over)
            groups.setdefault(others, []).append(each)
        panels[heading] = []
        for group in groups.values():
            label = by_row[id(group[0].row)]
            ascending = sorted(group, key=lambda each: [each.row.params.get(x, 0) for x in over])
            panels[heading].append(Line(label, named[label], ascending))
    return panels, named


def _draw_curve(axis: Axes, line: Line, name: str, x: str, log_y: bool, bands: bool) -> None:
    """The curves of a line's rows; a metric that a row does not have is left out."""
    for each in line.rows:
        if not each.table.where(metric=name).having(x):
            continue
        curve = each.table.over(x, name)
        if bands:
            figures.curve(axis, curve.x, curve.summary, line.style)
            continue
        mean, std = curve.summary.mean, curve.summary.std
        spread = np.stack([mean - curve.values.min(0), curve.values.max(0) - mean])
        figures.bars(axis, curve.x, mean, line.style, yerr=spread if log_y else std)


def _errors(points: Sequence[Summary | None]) -> list[float] | None:
    """Deviations for error bars; None with a single seed."""
    stds = [found.std for found in points if found]
    return (
        None
        if any(std is None for std in stds)
        else [float(std) for std in stds if std is not None]
    )
