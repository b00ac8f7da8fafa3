"""What a measure is."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments.analysis.runs import Run
from experiments.reporting.curves import Style

Result = dict[str, Any]


class GroupResult(NamedTuple):
    """What a measure found for a group, as in the JSON: plain numbers, None where not finite.

    Attributes:
      name: the group's.
      style: how it is drawn.
      runs: the results of its runs.
      shared: those entries that all runs agree on, such as what a curve is drawn over.
      mean: of those entries that are averaged over the runs.
      std: their standard deviations; None for a single run.
    """

    name: str
    style: Style
    runs: list[Result]
    shared: Result
    mean: Result
    std: Result


class Entry(NamedTuple):
    """A number for the report's table.

    Attributes:
      heading: what it is.
      value: of the result of one run.
      of: whether a run counts, by its result.
    """

    heading: str
    value: Callable[[Result], float | None]
    of: Callable[[Result], bool] = lambda result: True


class Drawing(NamedTuple):
    """A figure of the report.

    Attributes:
      name: of its files.
      title: over it.
      draw: results of the groups, at least one, and the options, to the figure.
      reading: how to read it, in a sentence or two.
      method: options to how it was measured.
    """

    name: str
    title: str
    draw: Callable[[Sequence[GroupResult], argparse.Namespace], Figure]
    reading: str
    method: Callable[[argparse.Namespace], str]


class Measure(NamedTuple):
    """A row of ``MEASURES``.

    Attributes:
      compute: a run, all runs and the options to numbers.
      averaged: the entries to average over the runs of a group, where all of them have it.
      shared: the entries on which the runs of a group agree.
      drawings: its figures.
      entries: options to its part of the table.
      add_arguments: adds its options to the command line.
      why_not: the reason why it cannot measure these runs at all; None where it can.
      applies: whether it has a number for a run, given all runs.
      common: results of a group's runs to the part of them that can be averaged.
    """

    compute: Callable[[Run, Sequence[Run], argparse.Namespace], Result]
    averaged: Sequence[str]
    shared: Sequence[str]
    drawings: Sequence[Drawing]
    entries: Callable[[argparse.Namespace], Sequence[Entry]] = lambda options: ()
    add_arguments: Callable[[Any], None] = lambda parser: None
    why_not: Callable[[Sequence[Run]], str | None] = lambda runs: None
    applies: Callable[[Run, Sequence[Run]], bool] = lambda run, runs: True
    common: Callable[[Sequence[Result]], Sequence[Mapping[str, Any]]] = lambda results: results


def numbers(text: str) -> list[float]:
    """The type of options that are numbers separated by commas."""
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not numbers separated by commas, as 0.05,0.1"
        ) from None


def at_common_epochs(results: Sequence[Result]) -> list[Result]:
    """The part of the results at the epochs that all of them have.

    Each entry that is as long as its ``epochs`` has a row for each of them.
    """
    common = sorted(set.intersection(*(set(result["epochs"]) for result in results)))
    return [_at_epochs(result, common) for result in results]


def _at_epochs(result: Result, epochs: Sequence[int]) -> Result:
    rows = [result["epochs"].index(epoch) for epoch in epochs]
    return {
        key: [value[row] for row in rows] if isinstance(value, list) else value
        for key, value in result.items()
    }
