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


class Drawing(NamedTuple):
    """A figure of an analysis.

    Attributes:
      name: file name without its extension.
      title: heading.
      draw: ``(groups, options) -> figure``, with at least one group.
      caption: how to read the figure.
      note: ``options -> str``, how it was measured.
    """

    name: str
    title: str
    draw: Callable[[Sequence[Group], Options], Figure]
    caption: str
    note: Callable[[Options], str]


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


def draw_curves(
    axis: Axes, groups: Sequence[Group], metric: str, x: str, scale: float = 1.0, **at: Any
) -> None:
    """A metric over a coordinate, a line for each group that has it."""
    for group in groups:
        if group.table.where(metric=metric, **at).having(x):
            curve = group.table.over(x, metric, **at)
            figures.curve(axis, curve.x, curve.summary, group.style, scale)


def draw_points(axis: Axes, groups: Sequence[Group], x: Number, y: Number) -> None:
    """Two numbers: a small, hollow marker for each run, a large one with bars for each group."""
    for group in groups:
        xs, ys = x.by_seed(group.table), y.by_seed(group.table)
        _points(axis, group.style, np.array([[xs[seed], ys[seed]] for seed in xs], float))


def draw_rows(axis: Axes, groups: Sequence[Group], number: Number) -> None:
    """A number as in :func:`draw_points`, a row for each group from top to bottom."""
    for row, group in enumerate(groups):
        values = number.by_seed(group.table).values()
        _points(axis, group.style, np.array([[value, row] for value in values], float))
    axis.set_yticks([])
    axis.set_ylim(len(groups) - 0.5, -0.5)


def _points(axis: Axes, style: Style, points: np.ndarray) -> None:
    color, _, marker = style
    _, mean, std = stats.summary(points)
    if std is not None:
        axis.plot(*points.T, marker, color=color, markerfacecolor="none", ms=4, alpha=0.6)
        axis.errorbar(*mean, xerr=std[0], yerr=std[1], color=color, linewidth=1, capsize=2)
    axis.plot(*mean, marker, color=color, ms=8)


def legend(figure: Figure, groups: Sequence[Group], **others: Any) -> None:
    """Names the groups below the panels."""
    figures.legend(figure, {group.label: group.style for group in groups}, **others)
