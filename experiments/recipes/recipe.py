"""Types of a recipe: the description of one table or figure of a paper."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from ml_collections import ConfigDict

LAPTOP, GPU, PAPER = SCALES = ("laptop", "gpu", "paper")

Value = float | np.ndarray
Published = Mapping[str, Mapping[str, tuple[float, float | None]]]  # column -> row -> mean, std


class Cell(NamedTuple):
    """One config, trained with every seed: a cell of a table or a point of a figure.

    Attributes:
      row: label of the row; unique within its column.
      column: label of the column, or of the figure's panel.
      config: the runs' config; its ``seed`` is replaced by that of each run.
      series: the line of a figure that the point belongs to.
      x: the point's coordinate on the horizontal axis.
      y: the point's coordinate on the vertical axis of a heat map.
    """

    row: str
    column: str
    config: ConfigDict
    series: str = ""
    x: float | None = None
    y: float | None = None


class RunResult(NamedTuple):
    """A finished run.

    Attributes:
      config: its config.
      history: the metrics of each epoch.
      final: metrics at the end of the run (of ``Task.measure``, or ``continual.json``).
      measures: name of a measure of ``experiments.analyze`` -> its result for the run.
      peers: row -> the run with the same column and seed in that row.
    """

    config: ConfigDict
    history: Sequence[Mapping[str, float]]
    final: Mapping[str, Any]
    measures: Mapping[str, Mapping[str, Any]]
    peers: Mapping[str, "RunResult"]


class Quantity(NamedTuple):
    """A number, or an array of numbers, taken from each run.

    Attributes:
      key: name in the JSON file.
      label: heading of the column, or label of the axis, with the unit.
      value: ``run -> number, array, or None`` (the run does not have the quantity).
      decimals: number of decimals in tables.
      higher_is_better: direction of an improvement; None if neither direction is an improvement.
    """

    key: str
    label: str
    value: Callable[[RunResult], Value | None]
    decimals: int = 2
    higher_is_better: bool | None = True


class MeasureSpec(NamedTuple):
    """A measure of ``experiments.analyze``, with its options.

    Attributes:
      name: a key of ``experiments.analysis.MEASURES``.
      options: command-line options of ``analyze``, e.g. ``("--radii=0.05,0.1",)``.
    """

    name: str
    options: tuple[str, ...] = ()


def _no_measures(scale: str) -> Sequence[MeasureSpec]:
    del scale
    return ()


class Recipe(NamedTuple):
    """A table or figure of a paper.

    Attributes:
      title: the heading.
      cells: ``scale -> cells``.
      seeds: scale -> number of seeds.
      quantities: the numbers taken from each run; the first one is the main one, which is compared
        between rows.
      draw: ``result -> figure``.
      choices: settings that the paper leaves open or that differ from it; one sentence each.
      limits: scale -> what this scale cannot show.
      published: the paper's numbers for the main quantity.
      against: row -> the row of the same column that it is compared with.
      measures: ``scale -> measures`` that the quantities need.
      t_test: whether the paper has a pairwise t-test; its p-values are then in the table.
      command: the command that does the runs: ``train``, ``translation`` or ``continual``.
    """

    title: str
    cells: Callable[[str], Sequence[Cell]]
    seeds: Mapping[str, int]
    quantities: Sequence[Quantity]
    draw: Callable[["Result"], Figure]
    choices: Sequence[str] = ()
    limits: Mapping[str, str] = MappingProxyType({})
    published: Published = MappingProxyType({})
    against: Mapping[str, str] = MappingProxyType({})
    measures: Callable[[str], Sequence[MeasureSpec]] = _no_measures
    t_test: bool = False
    command: str = "train"


class Statistic(NamedTuple):
    """A quantity over the seeds of a cell.

    Attributes:
      values: one for each seed that has it, ``[seed, ...]``.
      seeds: those seeds.
      mean: mean over seeds.
      std: sample standard deviation; None for one seed.
    """

    values: np.ndarray
    seeds: tuple[int, ...]
    mean: np.ndarray
    std: np.ndarray | None

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.seeds)


class Comparison(NamedTuple):
    """Paired difference of a cell to another one, over the seeds that both have.

    Attributes:
      against: row of the other cell.
      n: number of pairs.
      difference: mean difference, this cell minus the other one.
      interval: 95% confidence interval of the difference (Student's t); None for one pair.
      p: two-sided p-value of the paired t-test; None for one pair.
    """

    against: str
    n: int
    difference: float
    interval: tuple[float, float] | None
    p: float | None


class CellResult(NamedTuple):
    """The results of the runs of a cell.

    Attributes:
      cell: the cell.
      statistics: key of a quantity -> its statistic.
      gradients_per_step: mean number of gradients of a training step.
      comparison: of the main quantity; None if the row is compared with none.
      diverged: seeds whose run stopped with a loss that is not finite.
      trained: False if the networks did not train (:func:`experiments.recipes.quantities.trained`).
    """

    cell: Cell
    statistics: Mapping[str, Statistic]
    gradients_per_step: float | None
    comparison: Comparison | None
    diverged: tuple[int, ...]
    trained: bool = True


class Result(NamedTuple):
    """A recipe with the results of its cells.

    Attributes:
      name: the recipe's name, e.g. ``lookbehind.table1``.
      recipe: the recipe.
      scale: one of ``SCALES``.
      cells: one for each cell, in the recipe's order.
    """

    name: str
    recipe: Recipe
    scale: str
    cells: Sequence[CellResult]

    @property
    def columns(self) -> list[str]:
        """Labels of the columns, in order."""
        return list(dict.fromkeys(each.cell.column for each in self.cells))

    def of_column(self, column: str) -> list[CellResult]:
        """The cells of a column."""
        return [each for each in self.cells if each.cell.column == column]
