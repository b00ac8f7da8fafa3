"""Groups of runs that differ in their seed only, named by what distinguishes them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.methods.table import method
from experiments.results.measures.trained_run import TrainedRun, method_title
from experiments.training import run_dir

# Keys in which the runs of a group may differ, and keys that a name mentions even if no two groups
# have the same method.
_IGNORED_KEYS = ("seed", "keep_every")
_ALWAYS_NAMED = ("dataset", "model")


class RunGroup(NamedTuple):
    """Runs of one config.

    Attributes:
      name: the method, and the settings that distinguish the group from others.
      runs: one per seed.
    """

    name: str
    runs: list[TrainedRun]


def group_runs(runs: Sequence[TrainedRun]) -> list[RunGroup]:
    """Groups runs by config, in the order of their first runs.

    Raises:
      ValueError: if two runs have the same config and seed.
    """
    groups: dict[tuple, list[TrainedRun]] = {}
    for run in runs:
        group = groups.setdefault(tuple(sorted(_settings(run).items())), [])
        for other in group:
            if other.config.seed == run.config.seed:
                raise ValueError(f"{other.path} and {run.path} are the same run; give one of them.")
        group.append(run)
    firsts = [group[0] for group in groups.values()]
    return [RunGroup(_name(group[0], firsts), group) for group in groups.values()]


def _settings(run: TrainedRun) -> dict[str, Any]:
    """The settings that differ from the defaults, and the method's arguments, each as a key."""
    settings = run_dir.identity(run.config)
    bound = method(run.config.method)
    settings |= {"method": bound.name, **bound.arguments}
    return {key: str(value) for key, value in settings.items() if key not in _IGNORED_KEYS}


def _name(run: TrainedRun, others: Sequence[TrainedRun]) -> str:
    title, settings = method_title(run.config), _settings(run)
    alike = [_settings(other) for other in others if method_title(other.config) == title]
    everyone = [_settings(other) for other in others]
    distinguishing = [
        f"{key}={settings.get(key, 'default')}"
        for key in dict.fromkeys(key for other in alike for key in (*settings, *other))
        if any(other.get(key) != settings.get(key) for other in alike)
        or (key in _ALWAYS_NAMED and any(o.get(key) != settings.get(key) for o in everyone))
    ]
    return f"{title} ({', '.join(distinguishing)})" if distinguishing else title
