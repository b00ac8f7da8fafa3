"""Metrics of finished runs: numbers, and curves over epochs or another coordinate."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.methods.table import method
from experiments.results.table import Entry, Table
from experiments.training.metrics import METRICS

Value = float | Iterable[Entry] | None


class FinishedRun(NamedTuple):
    """What is on disk of a finished run.

    Attributes:
      config: its config.
      history: metrics and timing of each epoch.
      final: numbers at the end: the last epoch's, and of lifelong learning its scores.
      measures: name of a measure (``results/measures``) -> its table.
    """

    config: ConfigDict
    history: Sequence[Mapping[str, Any]]
    final: Mapping[str, Any]
    measures: Mapping[str, Table]


class Metric(NamedTuple):
    """A number that an item shows of each run.

    Attributes:
      name: its name in the tidy table.
      label: heading and label of the axis, with the unit.
      of: ``run -> number``, or rows of the tidy table for a curve, or None if the run has none.
      decimals: digits behind the point in tables.
      higher_is_better: direction of an improvement; None if neither is one.
    """

    name: str
    label: str
    of: Callable[[FinishedRun], Value]
    decimals: int = 2
    higher_is_better: bool | None = True

    def rows(self, run: FinishedRun) -> Table:
        """The metric of a run as rows of the tidy table."""
        value = self.of(run)
        if value is None:
            return Table()
        if isinstance(value, (int, float)):
            return Table([{"metric": self.name, "value": float(value)}])
        return Table({**row, "metric": self.name} for row in value)


def last(name: str, label: str | None = None, decimals: int = 2) -> Metric:
    """A logged metric after the last epoch."""
    logged = METRICS[name]
    return Metric(
        name,
        label or logged.heading,
        lambda run: logged.scale * run.history[-1][name],
        decimals,
        logged.higher_is_better,
    )


def best(name: str = "test_accuracy") -> Metric:
    """The best value of a metric in an evaluated epoch; of the test set, chosen on the test set."""
    logged = METRICS[name]
    pick = max if logged.higher_is_better else min
    return Metric(
        f"best_{name}",
        "best epoch, %",
        # Not every epoch is evaluated with config.eval_every.
        lambda run: logged.scale * pick(line[name] for line in run.history if name in line),
        higher_is_better=logged.higher_is_better,
    )


def best_epoch(name: str = "test_accuracy") -> Metric:
    """The epoch with the highest value, from 1; the first of several."""
    return Metric(
        "best_epoch",
        "epoch of the best test accuracy",
        lambda run: 1.0 + float(np.argmax([line[name] for line in run.history])),
        decimals=1,
        higher_is_better=None,
    )


def percent_sam() -> Metric:
    """Sharpness-aware steps in percent of all steps."""

    def of(run: FinishedRun) -> float:
        if "train_applied" in run.history[-1]:  # logged by policies
            return 100 * float(np.mean([line["train_applied"] for line in run.history]))
        return 100.0 if method(run.config.method).ascent_steps else 0.0

    return Metric("percent_sam", "%SAM", of, decimals=1, higher_is_better=None)


def step_milliseconds() -> Metric:
    """Time of a training step in the fastest epoch, which other programs disturb least."""

    def of(run: FinishedRun) -> float | None:
        rates = [line["images_per_second"] for line in run.history if "images_per_second" in line]
        return 1000 * run.config.batch_size / max(rates) if rates else None

    return Metric("step_milliseconds", "ms a step", of, decimals=1, higher_is_better=False)


def final(name: str, label: str, *, scale: float = 100.0, higher_is_better: bool = True) -> Metric:
    """A number at the end of the run."""
    return Metric(name, label, lambda run: scale * run.final[name], 2, higher_is_better)


def curve(name: str) -> Metric:
    """A logged metric over epochs; runs that do not log it have none."""
    logged = METRICS[name]

    def of(run: FinishedRun) -> Value:
        if name not in run.history[-1]:
            return None
        return [
            {"epoch": line["epoch"], "value": logged.scale * line[name]} for line in run.history
        ]

    return Metric(f"{name}_curve", logged.heading, of, higher_is_better=None)


def derived(
    name: str, label: str, *, decimals: int = 2, higher_is_better: bool | None = True
) -> Metric:
    """A metric that ``Item.derive`` computes from several runs."""
    return Metric(name, label, lambda run: None, decimals, higher_is_better)


def measured(
    measure: str,
    name: str,
    label: str,
    *,
    called: str | None = None,
    at: Callable[[Table], Value] = lambda rows: rows,
    scale: float = 1.0,
    decimals: int = 4,
    higher_is_better: bool | None = False,
) -> Metric:
    """A metric that a measure of the finished run has taken.

    Args:
      measure: a name in ``results/measures``.
      name: a metric of that measure.
      label: heading, with the unit.
      called: its name in the item's table; by default ``name``.
      at: ``rows -> number or rows``, what to take of a curve; by default all of it.
      scale: factor on the values.
      decimals: digits behind the point in tables.
      higher_is_better: direction of an improvement.
    """

    def of(run: FinishedRun) -> Value:
        value = at(run.measures[measure].where(metric=name))
        if value is None or isinstance(value, (int, float)):
            return value and scale * value
        return [{**row, "value": scale * row["value"]} for row in value]

    return Metric(called or name, label, of, decimals, higher_is_better)


def place(index: int, column: str) -> Callable[[Table], float]:
    """For ``at``: the value at the coordinate of that index, in ascending order."""
    return lambda rows: sorted(rows, key=lambda row: row[column])[index]["value"]


def only(rows: Table) -> float:
    """For ``at``: the value of a metric that is one number."""
    (row,) = rows
    return row["value"]
