"""All numbers of an analysis, as they are written to ``analysis.json`` and drawn."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.analysis.groups import Group, over_seeds, plain
from experiments.analysis.measure import GroupResult, Measure, Result
from experiments.analysis.runs import Run
from experiments.reporting.curves import styles


class Analysis(NamedTuple):
    """What was measured.

    Attributes:
      groups: the runs.
      results: by measure, then by the run's workdir; a run may be missing.
      skipped: measures that were left out, with the reason.
    """

    groups: list[Group]
    results: dict[str, dict[str, Result]]
    skipped: dict[str, str]


def choose(
    measures: Mapping[str, Measure], asked: Sequence[str] | None, runs: Sequence[Run]
) -> tuple[list[str], dict[str, str]]:
    """The measures to take, and those left out with the reason.

    Raises:
      ValueError: if one that was asked for by name cannot be taken.
    """
    chosen = asked or list(measures)
    reasons = {name: measures[name].why_not(runs) for name in chosen}
    skipped = {name: reason for name, reason in reasons.items() if reason}
    if asked and skipped:
        raise ValueError(
            "; ".join(f"{name} cannot be measured: {reason}" for name, reason in skipped.items())
        )
    return [name for name in chosen if name not in skipped], skipped


def of_groups(analysis: Analysis, name: str, measure: Measure) -> list[GroupResult]:
    """What a measure found for each group that it has a number for."""
    found = []
    for group, style in zip(analysis.groups, styles(), strict=False):
        by_run = analysis.results[name]
        results = [by_run[str(run.path)] for run in group.runs if str(run.path) in by_run]
        if results:
            common = measure.common(results)
            keys = [key for key in measure.averaged if all(key in result for result in common)]
            shared = {key: common[0][key] for key in measure.shared}
            averages = plain(over_seeds(common, keys))
            found.append(GroupResult(group.name, style, results, shared, **averages))
    return found


def as_json(
    analysis: Analysis,
    of_all: Mapping[str, Sequence[GroupResult]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Everything, with the settings that it was measured with.

    Args:
      analysis: the results of the runs.
      of_all: those of the groups, by measure.
      options: the settings.
    """
    return {
        "settings": {key: _setting(value) for key, value in vars(options).items()},
        "skipped": analysis.skipped,
        "groups": [_group_json(group, of_all) for group in analysis.groups],
        "runs": [
            _run_json(run, group, analysis.results)
            for group in analysis.groups
            for run in group.runs
        ],
    }


def _group_json(group: Group, of_all: Mapping[str, Sequence[GroupResult]]) -> dict[str, Any]:
    measures = {
        name: result.shared | {"mean": result.mean, "std": result.std}
        for name, results in of_all.items()
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
    run: Run, group: Group, results: Mapping[str, Mapping[str, Result]]
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
        "kept_epochs": run.kept,
        "m": run.m,
        "examples": run.batches.examples.labels.size,
        "measures": {name: by_run[path] for name, by_run in results.items() if path in by_run},
    }


def _setting(value: Any) -> Any:
    if isinstance(value, list):
        return [_setting(entry) for entry in value]
    return value if isinstance(value, (int, float, str, type(None))) else str(value)
