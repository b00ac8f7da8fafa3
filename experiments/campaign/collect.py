"""From finished runs to the result of a recipe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.campaign.commands import COMMANDS
from experiments.campaign.cost import gradients_per_step
from experiments.campaign.measuring import Measurement
from experiments.campaign.runs import Run, run_of
from experiments.methods.table import method
from experiments.recipes import quantities
from experiments.recipes.recipe import (
    Cell,
    CellResult,
    Comparison,
    MeasureSpec,
    Recipe,
    Result,
    RunResult,
    Statistic,
)
from experiments.recipes.statistics import compare, statistic


class Plan(NamedTuple):
    """The runs of a recipe.

    Attributes:
      name: the recipe's name.
      recipe: the recipe.
      scale: the scale.
      runs: one list for each cell, one run for each seed.
      measures: the measures to take of each run.
    """

    name: str
    recipe: Recipe
    scale: str
    runs: Sequence[tuple[Cell, Sequence[Run]]]
    measures: Sequence[MeasureSpec]

    @property
    def distinct_runs(self) -> dict[Path, Run]:
        """Folder -> run; the first seed of every cell, then the second ones, and so on."""
        by_seed = zip(*(runs for _, runs in self.runs), strict=True)
        return {run.path: run for runs in by_seed for run in runs}

    @property
    def measurements(self) -> list[Measurement]:
        """All measures of all runs."""
        runs = self.distinct_runs.values()
        return [Measurement(run, measure) for run in runs for measure in self.measures]


def plan(
    name: str, recipe: Recipe, scale: str, root: Path, seeds: int | None, data_dir: str | None
) -> Plan:
    """Works out the runs of a recipe.

    Args:
      name: the recipe's name.
      recipe: the recipe.
      scale: the scale.
      root: the folder of all runs.
      seeds: number of seeds; None for the recipe's.
      data_dir: folder of the prepared datasets; None for that of TFDS.
    """
    command = COMMANDS[recipe.command]
    numbers = range(recipe.seeds[scale] if seeds is None else seeds)
    runs = [
        (cell, [run_of(cell, seed, command, root, data_dir) for seed in numbers])
        for cell in recipe.cells(scale)
    ]
    return Plan(name, recipe, scale, runs, recipe.measures(scale))


def collect(plan: Plan) -> Result:
    """Reads the runs of a plan, all of which are done, and takes statistics over seeds."""
    return summarize(plan, read_runs(plan))


def summarize(plan: Plan, found: Sequence[Mapping[int, RunResult]]) -> Result:
    """The statistics over seeds.

    Args:
      plan: the plan.
      found: for each cell: seed -> run; runs that diverged are missing.
    """
    statistics = {
        (cell.column, cell.row): _statistics(plan.recipe, by_seed)
        for (cell, _), by_seed in zip(plan.runs, found, strict=True)
    }
    comparable = {
        (cell.column, cell.row): statistics[cell.column, cell.row]
        for (cell, _), by_seed in zip(plan.runs, found, strict=True)
        if _trained(by_seed)
    }
    cells = []
    for (cell, runs), by_seed in zip(plan.runs, found, strict=True):
        cells.append(
            CellResult(
                cell=cell,
                statistics=statistics[cell.column, cell.row],
                gradients_per_step=_gradients_per_step(by_seed),
                comparison=comparison(plan.recipe, cell, comparable),
                diverged=tuple(run.config.seed for run in runs if run.diverged),
                trained=(cell.column, cell.row) in comparable,
            )
        )
    return Result(plan.name, plan.recipe, plan.scale, cells)


def read_runs(plan: Plan) -> list[dict[int, RunResult]]:
    """For each cell: seed -> run; runs that diverged are missing."""
    peers: dict[tuple[str, int], dict[str, RunResult]] = {}
    found = []
    for cell, runs in plan.runs:
        by_seed = {}
        for run in runs:
            if not run.diverged:
                same_column = peers.setdefault((cell.column, run.config.seed), {})
                history, final = run.command.read(run.path)
                measures = {m.name: Measurement(run, m).read() for m in plan.measures}
                result = RunResult(run.config, history, final, measures, same_column)
                same_column[cell.row] = by_seed[run.config.seed] = result
        found.append(by_seed)
    return found


def _statistics(recipe: Recipe, by_seed: Mapping[int, RunResult]) -> dict[str, Statistic]:
    statistics = {}
    for quantity in recipe.quantities:
        values = {seed: quantity.value(run) for seed, run in by_seed.items()}
        present = {seed: value for seed, value in values.items() if value is not None}
        if (found := statistic(present)) is not None:
            statistics[quantity.key] = found
    return statistics


def _trained(by_seed: Mapping[int, RunResult]) -> bool:
    """Whether the mean accuracy over seeds is that of networks that trained."""
    accuracies = [
        100 * run.history[-1]["test_accuracy"]
        for run in by_seed.values()
        if run.history and "test_accuracy" in run.history[-1]
    ]
    if not accuracies:
        return True
    return quantities.trained(next(iter(by_seed.values())).config, float(np.mean(accuracies)))


def comparison(
    recipe: Recipe, cell: Cell, statistics: Mapping[tuple[str, str], Mapping[str, Statistic]]
) -> Comparison | None:
    """The paired difference of the main quantity to that of the row it is compared with.

    Args:
      recipe: the recipe.
      cell: the cell.
      statistics: column and row -> statistics, of the rows that trained.
    """
    against, key = recipe.against.get(cell.row), recipe.quantities[0].key
    if against is None:
        return None
    mine = statistics.get((cell.column, cell.row), {}).get(key)
    other = statistics.get((cell.column, against), {}).get(key)
    if mine is None or other is None or mine.mean.ndim:
        return None
    return compare(mine, other, against)


def _gradients_per_step(by_seed: Mapping[int, RunResult]) -> float | None:
    """Mean over epochs and seeds, from the logged fraction of sharpness-aware steps."""
    known = [run.final["gradients_per_step"] for run in by_seed.values() if "learner" in run.config]
    if known:
        return float(np.mean(known))
    counts = [
        gradients_per_step(method(run.config.method), line.get("train_applied"))
        for run in by_seed.values()
        if "method" in run.config and not run.config.get("switch")
        for line in run.history
    ]
    return float(np.mean(counts)) if counts else None
