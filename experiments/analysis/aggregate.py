"""The results of an analysis: by run, averaged over seeds, and as JSON."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.analysis.groups import Group, seed_statistics, to_json_types
from experiments.analysis.measure import Entry, GroupResult, Measure, RunResult
from experiments.analysis.runs import Run
from experiments.reporting.curves import styles

_MISSING = "-"  # a number that a group does not have
_MANY_GROUPS = 4  # more are rows of the table, not columns


class Analysis(NamedTuple):
    """The results of all measures.

    Attributes:
      groups: the runs, grouped by config.
      results: measure -> workdir of the run -> result. A measure may not apply to a run.
      skipped: measures that could not be taken -> reason.
    """

    groups: list[Group]
    results: dict[str, dict[str, RunResult]]
    skipped: dict[str, str]


def select_measures(
    measures: Mapping[str, Measure], requested: Sequence[str] | None, runs: Sequence[Run]
) -> tuple[list[str], dict[str, str]]:
    """Splits the measures into those to take and those to skip, with the reason.

    Args:
      measures: all measures by name.
      requested: names of measures; None for all.
      runs: the runs to measure.

    Raises:
      ValueError: if a requested measure cannot be taken.
    """
    names = requested or list(measures)
    reasons = {name: measures[name].unavailable_reason(runs) for name in names}
    skipped = {name: reason for name, reason in reasons.items() if reason}
    if requested and skipped:
        raise ValueError(
            "; ".join(f"{name} cannot be measured: {reason}" for name, reason in skipped.items())
        )
    return [name for name in names if name not in skipped], skipped


def aggregate(analysis: Analysis, name: str, measure: Measure) -> list[GroupResult]:
    """Averages a measure over the seeds of each group; groups without a result are dropped."""
    group_results = []
    for group, style in zip(analysis.groups, styles(), strict=False):
        by_run = analysis.results[name]
        results = [by_run[str(run.path)] for run in group.runs if str(run.path) in by_run]
        if results:
            common = measure.select_common(results)
            keys = [key for key in measure.averaged if all(key in result for result in common)]
            shared = {key: common[0][key] for key in measure.shared}
            averages = to_json_types(seed_statistics(common, keys))
            group_results.append(GroupResult(group.name, style, results, shared, **averages))
    return group_results


def table(
    analysis: Analysis,
    group_results: Mapping[str, Sequence[GroupResult]],
    measures: Mapping[str, Measure],
    options: argparse.Namespace,
) -> list[list[str]]:
    """All numbers: a row for each and a column for each group, or with many groups transposed."""
    groups = analysis.groups
    rows = [
        ["", *(group.name for group in groups)],
        ["seeds", *(", ".join(str(run.config.seed) for run in group.runs) for group in groups)],
        ["epochs", *(_epochs(group) for group in groups)],
    ]
    for name, results in group_results.items():
        by_group = {result.name: result for result in results}
        for entry in measures[name].entries(options):
            cells = [_cell(by_group.get(group.name), entry) for group in groups]
            if set(cells) != {_MISSING}:
                rows.append([entry.heading, *cells])
    return [*map(list, zip(*rows, strict=True))] if len(groups) > _MANY_GROUPS else rows


def _epochs(group: Group) -> str:
    return ", ".join(map(str, sorted({run.checkpoint.epoch for run in group.runs})))


def _cell(result: GroupResult | None, entry: Entry) -> str:
    """Mean and deviation, rounded to two significant digits of the deviation."""
    runs = [run for run in result.runs if entry.applies_to(run)] if result else []
    if not runs:
        return _MISSING
    values = np.array([entry.value(run) for run in runs], float)
    mean, std = values.mean(), values.std(ddof=1) if len(values) > 1 else 0
    if not np.isfinite(mean):
        return "not finite"
    if std == 0:
        return f"{mean:.4g}"
    decimals = max(0, 1 - int(np.floor(np.log10(std))))
    return f"{mean:.{decimals}f} ± {std:.{decimals}f}"


def as_json(
    analysis: Analysis,
    group_results: Mapping[str, Sequence[GroupResult]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """The content of ``analysis.json``: settings, groups and runs.

    Args:
      analysis: the results of the runs.
      group_results: measure -> results of the groups.
      options: the settings of the analysis.
    """
    return {
        "settings": {key: _setting(value) for key, value in vars(options).items()},
        "skipped": analysis.skipped,
        "groups": [_group_json(group, group_results) for group in analysis.groups],
        "runs": [
            _run_json(run, group, analysis.results)
            for group in analysis.groups
            for run in group.runs
        ],
    }


def _group_json(group: Group, group_results: Mapping[str, Sequence[GroupResult]]) -> dict[str, Any]:
    measures = {
        name: result.shared | {"mean": result.mean, "std": result.std}
        for name, results in group_results.items()
        for result in results
        if result.name == group.name
    }
    return {
        "name": group.name,
        "runs": [str(run.path) for run in group.runs],
        "seeds": [run.config.seed for run in group.runs],
        "epochs": [run.checkpoint.epoch for run in group.runs],
        "measures": measures,
    }


def _run_json(
    run: Run, group: Group, results: Mapping[str, Mapping[str, RunResult]]
) -> dict[str, Any]:
    path = str(run.path)
    return {
        "path": path,
        "group": group.name,
        "dataset": run.config.dataset,
        "model": run.config.model,
        "method": run.config.method,
        "seed": run.config.seed,
        "epoch": run.checkpoint.epoch,
        "kept_epochs": run.kept_epochs,
        "m": run.m,
        "examples": run.batches.examples.labels.size,
        "measures": {name: by_run[path] for name, by_run in results.items() if path in by_run},
    }


def _setting(value: Any) -> Any:
    if isinstance(value, list):
        return [_setting(entry) for entry in value]
    return value if isinstance(value, (int, float, str, type(None))) else str(value)
