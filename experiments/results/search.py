"""Choice of settings on held-out data, with the same number of runs for every method.

All settings of a method are tried with one seed and the best quarter with two more, by default by
the accuracy after the last epoch on a part of the training set that is held out with correct
labels, never on the test set. Each seed draws its wrong labels, subset and split; the seeds are
those of no other run. A choice and its numbers are kept as JSON.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.configs.base import with_changes
from experiments.methods.table import METHODS
from experiments.results.row import method_string
from experiments.results.runner import execute
from experiments.results.runs import Run, run_of
from experiments.storage import disk

SEEDS = (1000, 1001, 1002)
FINALISTS = 0.25  # fraction of the settings that get all seeds
HELD_OUT = 0.2  # fraction of the training set

Setting = Mapping[str, float]
Score = Callable[[Sequence[Mapping[str, Any]]], float]


class Candidates(NamedTuple):
    """A method with the settings to choose from.

    Attributes:
      method: its name in the table of methods.
      grid: key of the config or argument of the method -> values.
      fixed: arguments of the method that are not searched.
    """

    method: str
    grid: Mapping[str, Sequence[float]]
    fixed: Mapping[str, Any] = MappingProxyType({})

    @property
    def settings(self) -> list[Setting]:
        """All settings of the grid."""
        return [
            dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())
        ]


class Trial(NamedTuple):
    """A setting with its scores, higher is better.

    Attributes:
      setting: the setting.
      scores: seed -> score; a run that diverged scores minus infinity.
    """

    setting: Setting
    scores: dict[int, float]

    @property
    def mean(self) -> float:
        """Mean score."""
        return float(np.mean(list(self.scores.values())))


class Choice(NamedTuple):
    """The chosen setting of a method.

    Attributes:
      method: its name in the table of methods.
      fixed: arguments that were not searched.
      setting: the chosen setting.
      at_edge: keys whose chosen value is the smallest or largest of their grid.
      trials: every setting that was tried, best first.
    """

    method: str
    fixed: Mapping[str, Any]
    setting: Setting
    at_edge: Sequence[str] = ()
    trials: Sequence[Trial] = ()

    @property
    def params(self) -> dict[str, Any]:
        """The method, its arguments and the chosen keys of the config."""
        return {"method": self.method, **self.fixed, **self.setting}

    @property
    def changes(self) -> dict[str, Any]:
        """The config's keys for the choice."""
        return changes(self.method, self.fixed, self.setting)


def changes(method: str, fixed: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """The config's keys for a setting: those of the config, and the method with its arguments."""
    keys = {key: value for key, value in setting.items() if key not in METHODS[method].defaults}
    arguments = {**fixed, **{key: value for key, value in setting.items() if key not in keys}}
    return {"method": method_string(method, arguments), **keys}


def held_out_accuracy(history: Sequence[Mapping[str, Any]]) -> float:
    """The accuracy on held-out data after the last epoch."""
    return history[-1]["val_accuracy"]


def choose(
    config: ConfigDict,
    candidates: Sequence[Candidates],
    root: Path,
    *,
    score: Score = held_out_accuracy,
    held_out: float = HELD_OUT,
) -> list[Choice]:
    """Chooses a setting for each method. The same call again resumes.

    Args:
      config: the config of the comparison.
      candidates: the methods, with grids of one size.
      root: folder of the runs.
      score: ``history -> score`` of a run, higher is better.
      held_out: fraction of the training set to hold out; 0 for data with a validation set.

    Raises:
      ValueError: if a method has more settings than another.
    """
    sizes = {each.method: len(each.settings) for each in candidates}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"every method must have as many settings as the others, got {sizes}.")
    keys = {"validation": held_out, "save_every": config.epochs}
    config = with_changes(config, keys)
    trials = [[Trial(setting, {}) for setting in each.settings] for each in candidates]
    _score(config, candidates, trials, SEEDS[:1], root, score)
    finalists = [_ranked(row)[: max(1, round(FINALISTS * len(row)))] for row in trials]
    _score(config, candidates, finalists, SEEDS[1:], root, score)
    return [
        _choice(each, _ranked(best), row)
        for each, best, row in zip(candidates, finalists, trials, strict=True)
    ]


def write(file: Path, choices: Sequence[Choice]) -> None:
    """Writes the choices and all their trials."""
    records = [
        choice._asdict() | {"trials": [trial._asdict() for trial in choice.trials]}
        for choice in choices
    ]
    disk.write_text(file, json.dumps(records, indent=1) + "\n")


def read(file: Path) -> list[Choice]:
    """Reads the choices of a file."""
    records = json.loads(file.read_text(encoding="utf-8"))
    return [
        Choice(**record | {"trials": [_trial(**trial) for trial in record["trials"]]})
        for record in records
    ]


def _trial(setting: Setting, scores: Mapping[str, float]) -> Trial:
    return Trial(setting, {int(seed): score for seed, score in scores.items()})  # keys of JSON


def _score(
    config: ConfigDict,
    candidates: Sequence[Candidates],
    trials: Sequence[Sequence[Trial]],
    seeds: Sequence[int],
    root: Path,
    score: Score,
) -> None:
    """Trains each trial with each seed and adds the results to its scores."""
    runs: list[tuple[Trial, Run]] = []
    for seed in seeds:
        for each, row in zip(candidates, trials, strict=True):
            for trial in row:
                keys = changes(each.method, each.fixed, trial.setting)
                run = run_of(with_changes(config, keys), seed, root, draws_data=True)
                runs.append((trial, run))
    execute([run for _, run in runs])
    for trial, run in runs:
        result = -inf if run.diverged else score(run.read({}).history)
        trial.scores[run.config.seed] = result


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda trial: trial.mean, reverse=True)


def _choice(each: Candidates, finalists: Sequence[Trial], trials: Sequence[Trial]) -> Choice:
    setting = finalists[0].setting
    at_edge = [
        key
        for key, values in each.grid.items()
        if len(values) > 1 and setting[key] in (min(values), max(values))
    ]
    others = [trial for trial in _ranked(trials) if trial not in finalists]
    return Choice(each.method, dict(each.fixed), setting, at_edge, [*finalists, *others])
