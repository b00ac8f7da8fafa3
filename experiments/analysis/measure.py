"""The interface of a measure: numbers of a run, their averages, figures and table entries."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments.analysis.runs import Run
from experiments.reporting.curves import Style

RunResult = dict[str, Any]  # entry -> number, or (nested) list of numbers


class GroupResult(NamedTuple):
    """The result of a measure for a group, in JSON types (None for numbers that are not finite).

    Attributes:
      name: name of the group.
      style: line style of the group in all figures.
      runs: results of its runs.
      shared: entries that all runs have in common, such as the abscissa of a curve.
      mean: averaged entries.
      std: their standard deviations; None for a single run.
    """

    name: str
    style: Style
    runs: list[RunResult]
    shared: RunResult
    mean: RunResult
    std: RunResult


class Entry(NamedTuple):
    """A row of the report's table.

    Attributes:
      heading: name and unit of the number.
      value: ``(run_result) -> number``.
      applies_to: ``(run_result) -> bool``, whether the run has the number.
    """

    heading: str
    value: Callable[[RunResult], float | None]
    applies_to: Callable[[RunResult], bool] = lambda result: True


class Drawing(NamedTuple):
    """A figure of the report.

    Attributes:
      name: file name without its extension.
      title: heading.
      draw: ``(group_results, options) -> figure``, with at least one group.
      caption: how to read the figure.
      method_note: ``(options) -> str``, how it was measured.
    """

    name: str
    title: str
    draw: Callable[[Sequence[GroupResult], argparse.Namespace], Figure]
    caption: str
    method_note: Callable[[argparse.Namespace], str]


class Measure(NamedTuple):
    """A row of ``MEASURES``.

    Attributes:
      compute: ``(run, runs, options) -> run_result``, for one of all runs.
      averaged: entries to average over the runs of a group, if all runs have them.
      shared: entries that are equal in all runs of a group.
      drawings: figures.
      entries: ``(options) -> rows of the report's table``.
      add_arguments: ``(parser) -> None``, adds the options of the measure to the command line.
      unavailable_reason: ``(runs) -> str | None``, the reason if none of the runs can be measured.
      applies: ``(run, runs) -> bool``, whether the measure is defined for one of all runs.
      select_common: ``(run_results) -> run_results``, restricts the results of a group to what
        can be averaged.
      depends_on_runs: whether the result of a run depends on the other runs.
    """

    compute: Callable[[Run, Sequence[Run], argparse.Namespace], RunResult]
    averaged: Sequence[str]
    shared: Sequence[str]
    drawings: Sequence[Drawing]
    entries: Callable[[argparse.Namespace], Sequence[Entry]] = lambda options: ()
    add_arguments: Callable[[Any], None] = lambda parser: None
    unavailable_reason: Callable[[Sequence[Run]], str | None] = lambda runs: None
    applies: Callable[[Run, Sequence[Run]], bool] = lambda run, runs: True
    select_common: Callable[[Sequence[RunResult]], Sequence[RunResult]] = lambda results: results
    depends_on_runs: bool = False


def numbers(text: str) -> list[float]:
    """Parses an option of numbers separated by commas."""
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected numbers separated by commas, such as 0.05,0.1; got {text!r}"
        ) from None


def common_epochs(results: Sequence[RunResult]) -> list[RunResult]:
    """Restricts the results to the epochs that all of them have.

    Every entry that is a list has one element per epoch.
    """
    common = sorted(set.intersection(*(set(result["epochs"]) for result in results)))
    return [_at_epochs(result, common) for result in results]


def _at_epochs(result: RunResult, epochs: Sequence[int]) -> RunResult:
    rows = [result["epochs"].index(epoch) for epoch in epochs]
    return {
        key: [value[row] for row in rows] if isinstance(value, list) else value
        for key, value in result.items()
    }
