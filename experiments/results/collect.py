"""From an item to its runs, and from finished runs to its result."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.methods.table import method
from experiments.results import stats
from experiments.results.item import Item, Result, ResultRow, derive, evaluate
from experiments.results.measuring import Measurement
from experiments.results.metrics import FinishedRun
from experiments.results.row import Row
from experiments.results.runs import Run, run_of
from experiments.results.table import concatenate
from experiments.tasks.continual.learners import is_lifelong


class Plan(NamedTuple):
    """The runs of an item.

    Attributes:
      name: the item's name.
      item: the item.
      scale: the scale.
      rows: each row with its runs, one for each seed.
      data_dir: folder of the prepared datasets; None for that of TFDS.
    """

    name: str
    item: Item
    scale: str
    rows: Sequence[tuple[Row, Sequence[Run]]]
    data_dir: str | None

    @property
    def runs(self) -> list[Run]:
        """The distinct runs: the first seed of every row, then the second ones, and so on."""
        by_seed = zip(*(runs for _, runs in self.rows), strict=True)
        return list({run.path: run for runs in by_seed for run in runs}.values())

    def measurements(self, run: Run) -> dict[str, Measurement]:
        """The measures to take of a run, by name."""
        options = self.item.measures(self.scale)
        return {name: Measurement(run, name, options[name], self.data_dir) for name in options}


def plan(
    name: str, item: Item, scale: str, root: Path, seeds: int | None, data_dir: str | None
) -> Plan:
    """Works out the runs of an item.

    Args:
      name: the item's name.
      item: the item.
      scale: the scale.
      root: the folder of all runs.
      seeds: number of seeds; None for the item's.
      data_dir: folder of the prepared datasets; None for that of TFDS.
    """
    numbers = range(item.seeds[scale] if seeds is None else seeds)

    def run(row: Row, seed: int) -> Run:
        return run_of(
            row.config,
            seed,
            root,
            data_dir=data_dir,
            minibatches=row.minibatches,
            draws_data=item.draws_data,
        )

    rows = [(row, [run(row, seed) for seed in numbers]) for row in item.rows(scale)]
    return Plan(name, item, scale, rows, data_dir)


def collect(plan: Plan, date: str) -> Result:
    """Reads the runs of a plan, all of which are done, and takes statistics over seeds."""
    rows = []
    for row, runs in plan.rows:
        finished = {
            run.path.name: run.read(
                {name: each.read() for name, each in plan.measurements(run).items()}
            )
            for run in runs
            if not run.diverged
        }
        diverged = tuple(run.config.seed for run in runs if run.diverged)
        rows.append(result_row(plan.item, row, finished, diverged))
    return evaluate(derive(Result(plan.name, plan.item, plan.scale, date, rows)))


def result_row(
    item: Item, row: Row, finished: dict[str, FinishedRun], diverged: tuple[int, ...] = ()
) -> ResultRow:
    """A row with the metrics of its finished runs, by their names."""
    table = concatenate(
        metric.rows(run).with_columns(seed=run.config.seed, run=name)
        for metric in item.metrics
        for name, run in finished.items()
    )
    runs = list(finished.values())
    return ResultRow(row, table, _gradients_per_step(runs), diverged, _trained(row, runs))


def _trained(row: Row, runs: Sequence[FinishedRun]) -> bool:
    accuracies = [
        100 * run.history[-1]["test_accuracy"]
        for run in runs
        if run.history and "test_accuracy" in run.history[-1]
    ]
    return stats.trained(accuracies, row.trained_above)


def _gradients_per_step(runs: Sequence[FinishedRun]) -> float | None:
    """Mean over epochs and runs, from the logged fraction of sharpness-aware steps."""
    counts: list[float] = []
    for run in runs:
        if is_lifelong(run.config):
            counts.append(run.final["gradients_per_step"])
        elif not run.config.switch:
            bound = method(run.config.method)
            applied = [line.get("train_applied") for line in run.history]
            counts += [bound.gradients_per_step(fraction) for fraction in applied]
    return float(np.mean(counts)) if counts else None
