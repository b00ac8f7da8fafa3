"""Figures of items without lines: dot plots, heat maps, distributions.

Each function returns ``draw(result) -> figure`` for ``Item.draw``. Rows that did not train are left
out of every figure.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.results import figures, stats
from experiments.results.item import Result, ResultRow, reference
from experiments.results.metrics import Metric
from experiments.results.stats import Summary
from experiments.results.table import concatenate

Draw = Callable[[Result], Figure]
Kind = Callable[[Axes, np.ndarray, str], None]  # (axis, samples, label), draws samples
Numbers = Mapping[str, tuple[float, float | None]]  # label -> value and deviation


def dots(name: str) -> Draw:
    """A dot for each row, a panel for each of the item's; published values as diamonds."""

    def draw(result: Result) -> Figure:
        measured = {heading: rows for heading, rows in drawn_rows(result).items() if rows}
        missing = {
            heading: {label: row.published for label, row in found.items() if row.published}
            for heading, found in result.item.published(result.panels).items()
        }
        most = max(map(len, [*measured.values(), *missing.values()]))
        titles = [*measured, *(f"{heading} (published)" for heading in missing)]
        figure, axes = figures.panels(titles, height=1.3 + 0.26 * most)
        for axis, rows in zip(axes, measured.values(), strict=False):
            summaries = {each.label: each.table.summary(name) for each in rows}
            values = {label: _mean_and_std(found) for label, found in summaries.items() if found}
            published = {each.label: each.row.published for each in rows if each.row.published}
            has_bars = any(std is not None for _, std in values.values())
            bars = "\n(bars: deviation over seeds)" if has_bars else ""
            figures.dots(axis, values, f"{metric_of(result, name).label}{bars}", published)
        for axis, numbers in zip(axes[len(measured) :], missing.values(), strict=True):
            figures.dots(axis, dict.fromkeys(numbers, (None, None)), "published", numbers)
        return figure

    return draw


def by_cost(name: str) -> Draw:
    """A dot for each row with its 95% interval, in the order of their gradients a step."""

    def draw(result: Result) -> Figure:
        panels = {heading: rows for heading, rows in drawn_rows(result).items() if rows}
        most = max(map(len, panels.values()))
        figure, axes = figures.panels(list(panels), height=1.5 + 0.26 * most)
        for axis, rows in zip(axes, panels.values(), strict=True):
            ranking(axis, rows, metric_of(result, name))
        return figure

    return draw


def ranking(axis: Axes, rows: Sequence[ResultRow], metric: Metric) -> None:
    """The panel of :func:`by_cost`."""
    figures.dots(
        axis,
        {
            f"{each.label}  ({gradients(each):.2f})": interval(each, metric.name)
            for each in sorted(rows, key=gradients)
        },
        f"{metric.label}, with its 95% interval;\nin brackets: gradients a step",
    )


def gradients(each: ResultRow) -> float:
    """Gradients a step; 0 if unknown."""
    return each.gradients_per_step or 0.0


def interval(each: ResultRow, name: str) -> tuple[float, float]:
    """Mean over seeds, and half its 95% interval."""
    values = list(each.table.by_seed(name).values())
    return float(np.mean(values)), stats.half_interval(values) or 0.0


def heat_map(name: str, x: str, y: str) -> Draw:
    """A metric over two parameters, a map for each panel and method.

    White is the mean of the row that the cells are compared with, if there is one.
    """

    def draw(result: Result) -> Figure:
        maps: dict[tuple[str, str], list[ResultRow]] = {}
        for heading, rows in drawn_rows(result).items():
            for each in rows:
                if x in each.row.params and y in each.row.params:
                    maps.setdefault((heading, each.row.params["method"]), []).append(each)
        titles = result.item.labels([rows[0].row for rows in maps.values()], without=[x, y])
        metric = metric_of(result, name)
        figure, axes = figures.panels(
            [f"{title}: {heading}" for title, (heading, _) in zip(titles, maps, strict=True)]
        )
        for axis, rows in zip(axes, maps.values(), strict=True):
            table = concatenate(r.table.with_columns(**r.row.params) for r in rows)
            ys, xs, means = table.pivot(y, x, name)
            place = reference([r.row for r in result.rows], result.item, rows[0].row.params)
            center = None if place is None else result.rows[place].table.summary(name)
            white = None if center is None else float(center.mean)
            decimals = min(metric.decimals, 1)
            figures.heat_map(axis, xs, ys, means, metric.label, center=white, decimals=decimals)
            axis.set(xlabel=x, ylabel=y)
            if white is not None and place is not None:
                note = f"white: {result.rows[place].label}, {white:.1f}"
                axis.set_title(f"{axis.get_title()}\n{note}", fontsize=10)
        return figure

    return draw


def distributions(name: str, *kinds: Kind) -> Draw:
    """Samples of the first seed: a row of panels for each row and kind, an epoch in each column.

    Args:
      name: the metric, with a value for each ``epoch`` and ``sample``.
      *kinds: functions of :mod:`experiments.results.figures` that draw samples.
    """

    def draw(result: Result) -> Figure:
        label = metric_of(result, name).label
        shown: list[tuple[str, np.ndarray, Kind]] = []
        for heading, rows in drawn_rows(result).items():
            for each, kind in ((each, kind) for each in rows for kind in kinds):
                values = each.table.where(metric=name, seed=each.table.distinct("seed")[0])
                for (epoch,), rows_of_epoch in values.group("epoch").items():
                    title = f"{heading}: {each.label}, epoch {epoch:g}"
                    shown.append((title, np.array([row["value"] for row in rows_of_epoch]), kind))
        figure, axes = figures.panels([title for title, *_ in shown], height=3.0)
        for axis, (_, samples, kind) in zip(axes, shown, strict=True):
            kind(axis, samples, label)
        return figure

    return draw


def drawn_rows(result: Result) -> dict[str, list[ResultRow]]:
    """The rows of each panel that trained."""
    return {
        heading: [each for each in rows if each.trained] for heading, rows in result.panels.items()
    }


def metric_of(result: Result, name: str) -> Metric:
    """The item's metric of that name."""
    return next(metric for metric in result.item.metrics if metric.name == name)


def _mean_and_std(found: Summary) -> tuple[float, float | None]:
    return float(found.mean), None if found.std is None else float(found.std)
