"""Figures of recipes: the shapes that the papers' tables and figures have."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.recipes.recipe import CellResult, Quantity, Result, Statistic
from experiments.reporting import charts
from experiments.reporting.charts import Series

Draw = Callable[[Result], Figure]


def rows(key: str) -> Draw:
    """A point for each row, a panel for each column."""

    def draw(result: Result) -> Figure:
        most_rows = max(len(result.of_column(column)) for column in result.columns)
        figure, axes = charts.panels(result.columns, height=1.2 + 0.26 * most_rows)
        for axis, column in zip(axes, result.columns, strict=True):
            values = {
                each.cell.row: _mean_and_std(each, key)
                for each in result.of_column(column)
                if key in each.statistics
            }
            if values:
                charts.rows(axis, values, quantity(result, key).label)
        return figure

    return draw


def lines(key: str, x_label: str, *, log_x: bool = False) -> Draw:
    """A line for each series over ``Cell.x``; series without ``x`` are horizontal lines."""

    def draw(result: Result) -> Figure:
        named = charts.named_styles(_series_names(result))
        figure, axes = charts.panels(result.columns)
        for axis, column in zip(axes, result.columns, strict=True):
            cells = [each for each in result.of_column(column) if key in each.statistics]
            ticks = sorted({each.cell.x for each in cells if each.cell.x is not None})
            for name, points in by_series(cells).items():
                if points[0].cell.x is None:
                    mean, _ = _mean_and_std(points[0], key)
                    style = named[name]
                    axis.axhline(mean, color=style.color, linestyle=style.line, linewidth=1.3)
                    axis.plot([ticks[0]] if ticks else [0], [mean], style.marker, color=style.color)
                else:
                    points = sorted(points, key=lambda each: each.cell.x or 0.0)
                    xs = np.array([each.cell.x for each in points])
                    charts.lines(axis, {name: _series(points, key, xs)}, named)
            if log_x:
                axis.set_xscale("log")
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.minorticks_off()
            axis.set(xlabel=x_label, ylabel=quantity(result, key).label)
        charts.legend(figure, named)
        return figure

    return draw


def curves(*keys: str, log_y: bool = False) -> Draw:
    """Quantities over epochs: a panel for each column and quantity, a curve for each row."""

    def draw(result: Result) -> Figure:
        named = charts.named_styles(_rows(result))
        shown = [(column, key) for column in result.columns for key in keys]
        figure, axes = charts.panels([column for column, _ in shown])
        for axis, (column, key) in zip(axes, shown, strict=True):
            for each in result.of_column(column):
                if key in each.statistics:
                    found = each.statistics[key]
                    epochs = np.arange(1, len(found.mean) + 1)
                    points = Series(epochs, found.mean, found.std)
                    charts.curves(axis, {each.cell.row: points}, named)
            if log_y:
                axis.set_yscale("log")
            axis.set(xlabel="epoch", ylabel=quantity(result, key).label)
        charts.legend(figure, named)
        return figure

    return draw


def vectors(
    x_key: str,
    keys: Sequence[str],
    x_labels: Sequence[str],
    *,
    log_x: bool = False,
    log_y: bool = False,
    by_x: bool = False,
) -> Draw:
    """Array quantities over another array quantity: a panel for each column and quantity.

    Args:
      x_key: quantity with the horizontal coordinates; with ``{}`` it is filled with each key.
      keys: the quantities.
      x_labels: label of the horizontal axis for each of them.
      log_x: logarithmic horizontal axes.
      log_y: logarithmic vertical axes. Bars are then the range over seeds, which is positive.
      by_x: panels for each value of ``Cell.x`` too, with a line for each series.
    """

    def draw(result: Result) -> Figure:
        named = charts.named_styles(_series_names(result) if by_x else _rows(result))
        labels = dict(zip(keys, x_labels, strict=True))
        groups = (
            _by_column_and_x(result) if by_x else {c: result.of_column(c) for c in result.columns}
        )
        shown = [(title, key, label) for title in groups for key, label in labels.items()]
        figure, axes = charts.panels([title for title, _, _ in shown])
        for axis, (title, key, x_label) in zip(axes, shown, strict=True):
            y_label = quantity(result, key).label
            for each in groups[title]:
                if key in each.statistics:
                    found, x = each.statistics[key], each.statistics[x_key.format(key)].mean
                    error = _range_error(found) if log_y else found.std
                    name = each.cell.series if by_x else each.cell.row
                    charts.lines(axis, {name: Series(x, found.mean, error)}, named)
                    if log_x:
                        axis.set(xscale="log")
                        axis.set_xticks(x, [f"{tick:g}" for tick in x], minor=False)
                        axis.set_xticks([], minor=True)
            if log_y:
                axis.set_yscale("log")
                y_label += "\n(bars: range over seeds)"
            axis.set(xlabel=x_label, ylabel=y_label)
        charts.legend(figure, named)
        return figure

    return draw


def scatter(x_key: str, y_key: str) -> Draw:
    """A point for each cell; the points of a series are joined and grow with ``Cell.x``."""

    def draw(result: Result) -> Figure:
        named = charts.named_styles(_series_names(result))
        figure, axes = charts.panels(result.columns)
        for axis, column in zip(axes, result.columns, strict=True):
            cells = [each for each in result.of_column(column) if x_key in each.statistics]
            for name, points in by_series(cells).items():
                points = sorted(points, key=lambda each: each.cell.x or 0.0)
                x = _series(points, x_key, np.zeros(len(points)))
                y = _series(points, y_key, x.y)
                charts.scatter(axis, {name: y._replace(x_error=x.y_error)}, named)
            labels = [quantity(result, key).label for key in (x_key, y_key)]
            axis.set(xlabel=labels[0], ylabel=labels[1])
        charts.legend(figure, named)
        return figure

    return draw


def distributions(key: str, *panels: Callable[[Axes, np.ndarray], None]) -> Draw:
    """Samples ``[epoch, sample]`` of the first seed: a panel for each cell, epoch and kind.

    Args:
      key: the quantity; the epochs are in the quantity ``sampled_epochs``.
      *panels: functions of :mod:`experiments.reporting.charts` that draw samples.
    """

    def draw(result: Result) -> Figure:
        shown = []
        for each in result.cells:
            if key in each.statistics:
                epochs = each.statistics["sampled_epochs"].mean
                for epoch, samples in zip(epochs, each.statistics[key].values[0], strict=True):
                    title = f"{each.cell.column}: {each.cell.row}, epoch {epoch:g}"
                    shown += [(title, samples, panel) for panel in panels]
        figure, axes = charts.panels([title for title, _, _ in shown], height=3.0)
        for axis, (_, samples, panel) in zip(axes, shown, strict=True):
            panel(axis, samples)
        return figure

    return draw


def _mean_and_std(each: CellResult, key: str) -> tuple[float, float | None]:
    found = each.statistics[key]
    return float(found.mean), None if found.std is None else float(found.std)


def _series(points: Sequence[CellResult], key: str, x: np.ndarray) -> Series:
    found = [_mean_and_std(each, key) for each in points]
    stds = [std for _, std in found]
    error = None if any(std is None for std in stds) else np.array(stds, float)
    return Series(x, np.array([mean for mean, _ in found]), error)


def _rows(result: Result) -> list[str]:
    return list(dict.fromkeys(each.cell.row for each in result.cells))


def _series_names(result: Result) -> list[str]:
    return list(dict.fromkeys(each.cell.series for each in result.cells))


def _by_column_and_x(result: Result) -> dict[str, list[CellResult]]:
    groups: dict[str, list[CellResult]] = {}
    for each in result.cells:
        groups.setdefault(f"{each.cell.column}, rho = {each.cell.x:g}", []).append(each)
    return groups


def _range_error(found: Statistic) -> np.ndarray:
    """Distances of the mean to the smallest and to the largest value, ``[2, ...]``."""
    return np.stack([found.mean - found.values.min(0), found.values.max(0) - found.mean])


def by_series(cells: Sequence[CellResult]) -> dict[str, list[CellResult]]:
    """The cells of each series."""
    by_series: dict[str, list[CellResult]] = {}
    for each in cells:
        by_series.setdefault(each.cell.series, []).append(each)
    return by_series


def quantity(result: Result, key: str) -> Quantity:
    """The recipe's quantity of that key."""
    return next(each for each in result.recipe.quantities if each.key == key)
