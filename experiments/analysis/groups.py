"""Groups of runs that differ only in their seed, and their statistics."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.analysis.runs import Run, method_title
from experiments.methods.table import method
from experiments.training import run_dir as files

# Config keys in which the runs of a group may differ: the seed, and how and where they ran.
_IGNORED_KEYS = ("seed", "keep_every", *files.RESUMABLE_KEYS)
# Keys that a name mentions even if no two groups have the same method.
_ALWAYS_NAMED = ("dataset", "model")


class Group(NamedTuple):
    """Runs of one config.

    Attributes:
      name: the method, and the settings that distinguish the group from others.
      runs: one per seed.
    """

    name: str
    runs: list[Run]


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Groups runs by config, in the order of their first runs."""
    by_config: dict[str, list[Run]] = {}
    for run in runs:
        by_config.setdefault(json.dumps(_settings(run), sort_keys=True), []).append(run)
    groups = list(by_config.values())
    return [Group(_name(group[0], [other[0] for other in groups]), group) for group in groups]


def seed_statistics(results: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """Mean and sample standard deviation of the entries ``keys`` over the runs of a group.

    The deviation of a single run is None.
    """
    mean, std = {}, {}
    for key in keys:
        values = np.array([result[key] for result in results], float)
        with np.errstate(invalid="ignore"):  # a loss may be infinite
            mean[key] = values.mean(axis=0)
            std[key] = values.std(axis=0, ddof=1) if len(values) > 1 else None
    return {"mean": mean, "std": std}


def to_json_types(value: Any) -> Any:
    """Converts to the types of JSON; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {key: to_json_types(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_types(entry) for entry in value]
    if hasattr(value, "tolist"):
        return to_json_types(np.asarray(value).tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _settings(run: Run) -> dict[str, Any]:
    """The config without the ignored keys, with the method's arguments as keys of their own."""
    config = json.loads(run.config.to_json())
    chosen = method(config["method"])
    settings = config | {"method": chosen.name} | chosen.arguments
    return {key: value for key, value in settings.items() if key not in _IGNORED_KEYS}


def _name(run: Run, others: Sequence[Run]) -> str:
    title, settings = method_title(run.config), _settings(run)
    other_settings = [(method_title(other.config), _settings(other)) for other in others]
    distinguishing = [
        f"{key}={'default' if value is None else value}"
        for key, value in settings.items()
        if any(
            other.get(key) != value and (other_title == title or key in _ALWAYS_NAMED)
            for other_title, other in other_settings
        )
    ]
    return f"{title} ({', '.join(distinguishing)})" if distinguishing else title
