"""The interface of a measure, and the parts of its figures."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.results import figures, stats
from experiments.results.figures import Style
from experiments.results.measures.trained_run import TrainedRun
from experiments.results.table import Table

Options = Mapping[str, Any]


class Option(NamedTuple):
    """An option of a measure.

    Attributes:
      default: its default value; one of this type is expected.
      help: its meaning, for the command line.
    """

    default: Any
    help: str


class Group(NamedTuple):
    """The measures of runs that differ in their seed only.

    Attributes:
      label: its name in tables and legends.
      style: its style in all figures.
      table: the metrics of its runs.
    """

    label: str
    style: Style
    table: Table


class Number(NamedTuple):
    """A row of the table of an analysis.

    Attributes:
      heading: name and unit.
      metric: the metric.
      at: the coordinates of the number, or the name of a coordinate, whose largest value is meant.
      scale: factor on the value.
    """

    heading: str
    metric: str
    at: Mapping[str, Any] | str = MappingProxyType({})
    scale: float = 1.0

    def by_seed(self, table: Table) -> dict[int, float]:
        """Seed -> number, of the runs that have it."""
        rows = table.where(metric=self.metric)
        if isinstance(self.at, str):
            rows = rows.where(**{self.at: max(rows.distinct(self.at), default=None)})
        else:
            rows = rows.where(**self.at)
        return {seed: self.scale * value for seed, value in rows.by_seed(self.metric).items()}


Panel = Callable[[Axes, Sequence[Group]], None]  # draws the groups


class Drawing(NamedTuple):
    """A figure of an analysis.

    Attributes:
      name: file name without its extension.
      title: heading.
      caption: how to read the figure and how it was measured; ``{option}`` stands for its value.
      panels: ``(groups, options) -> panels``.
      draw: ``groups -> figure`` in place of panels, for other shapes.
    """

    name: str
    title: str
    caption: str
    panels: Callable[[Sequence[Group], Options], Sequence[Panel]] = lambda groups, options: ()
    draw: Callable[[Sequence[Group]], Figure] | None = None

    def figure(self, groups: Sequence[Group], options: Options) -> Figure:
        """The figure of groups, of which there is at least one."""
        if self.draw is not None:
            return self.draw(groups)
        panels = self.panels(groups, options)
        figure, axes = figures.panels([""] * len(panels))
        for axis, panel in zip(axes, panels, strict=True):
            panel(axis, groups)
        figures.legend(figure, {group.label: group.style for group in groups})
        return figure


class Measure(NamedTuple):
    """A measure of trained models.

    Attributes:
      compute: ``(run, runs, **options) -> table`` of one of all runs.
      drawings: its figures.
      options: its options by name.
      numbers: ``options -> rows`` of the table of an analysis.
      unavailable: ``runs -> reason`` if none of the runs can be measured.
      applies: ``(run, runs) -> bool``, whether it is defined for one of all runs.
      compares_runs: whether the result of a run depends on the other runs.
    """

    compute: Callable[..., Table]
    drawings: Sequence[Drawing]
    options: Mapping[str, Option] = MappingProxyType({})
    numbers: Callable[[Options], Sequence[Number]] = lambda options: ()
    unavailable: Callable[[Sequence[TrainedRun]], str | None] = lambda runs: None
    applies: Callable[[TrainedRun, Sequence[TrainedRun]], bool] = lambda run, runs: True
    compares_runs: bool = False

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of each option."""
        return {name: option.default for name, option in self.options.items()}


def curves(
    metric: str,
    x: str,
    *,
    at: Mapping[str, Any] = MappingProxyType({}),
    log: str = "",
    scale: float = 1.0,
    **labels: Any,
) -> Panel:
    """A panel with a metric over a coordinate, a line for each group that has it.

    Args:
      metric: the metric.
      x: the coordinate.
      at: other coordinates of the curve.
      log: the axes that are logarithmic, "x", "y" or "xy"; "y" only for positive values.
      scale: factor on the values.
      **labels: ``xlabel``, ``ylabel`` and other properties of the axes.
    """

    def panel(axis: Axes, groups: Sequence[Group]) -> None:
        lowest = np.inf
        for group in groups:
            if len(group.table.where(metric=metric, **at).having(x)):
                curve = group.table.over(x, metric, **at)
                figures.curve(axis, curve.x, curve.summary, group.style, scale)
                lowest = min(lowest, np.nanmin(curve.values))
        axis.set(**labels)
        for which in log:
            if which == "x" or lowest > 0:
                figures.logarithmic(axis, which)

    return panel


def points(x: Number, y: Number | None = None, *, log: str = "", **labels: Any) -> Panel:
    """A panel with two numbers, or one number in a row for each group from top to bottom.

    A small, hollow marker stands for a run, a large one with bars of a deviation for a group.
    """

    def panel(axis: Axes, groups: Sequence[Group]) -> None:
        for row, group in enumerate(groups):
            xs = x.by_seed(group.table)
            ys = dict.fromkeys(xs, row) if y is None else y.by_seed(group.table)
            _draw_points(axis, group.style, np.array([[xs[seed], ys[seed]] for seed in xs], float))
        if y is None:
            axis.set_yticks([])
            axis.set_ylim(len(groups) - 0.5, -0.5)
        axis.set(**labels)
        for which in log:
            figures.logarithmic(axis, which)

    return panel


def _draw_points(axis: Axes, style: Style, points: np.ndarray) -> None:
    color, _, marker = style
    _, mean, std = stats.summary(points)
    if std is not None:
        axis.plot(*points.T, marker, color=color, markerfacecolor="none", ms=4, alpha=0.6)
        axis.errorbar(*mean, xerr=std[0], yerr=std[1], color=color, linewidth=1, capsize=2)
    axis.plot(*mean, marker, color=color, ms=8)
