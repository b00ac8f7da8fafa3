"""Runs that differ in nothing but their seed, and what they come to together."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.analysis.runs import Run, title
from experiments.methods.table import method
from experiments.training import run_dir as files

# Keys that do not change what a run is: its seed, and how and where it ran.
_ASIDE = ("seed", "keep_every", *files.PLACES)
# Keys that a name mentions even where no two groups have the same method.
_ALWAYS = ("dataset", "model")


class Group(NamedTuple):
    """Runs of one config.

    Attributes:
      name: the method, and what else tells it from the other groups.
      runs: one for each seed.
    """

    name: str
    runs: list[Run]


def grouped(runs: Sequence[Run]) -> list[Group]:
    """The groups in the order of their first runs."""
    by_config: dict[str, list[Run]] = {}
    for run in runs:
        by_config.setdefault(json.dumps(_settings(run), sort_keys=True), []).append(run)
    groups = list(by_config.values())
    return [Group(_name(group[0], [other[0] for other in groups]), group) for group in groups]


def over_seeds(results: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """Mean and standard deviation (ddof=1) of some entries over the runs of a group.

    The deviation of a single run is None.
    """
    mean, std = {}, {}
    for key in keys:
        values = np.array([result[key] for result in results], float)
        with np.errstate(invalid="ignore"):  # a loss may be infinite
            mean[key] = values.mean(axis=0)
            std[key] = values.std(axis=0, ddof=1) if len(values) > 1 else None
    return {"mean": mean, "std": std}


def plain(value: Any) -> Any:
    """Dictionaries, lists, numbers as JSON has them: what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _settings(run: Run) -> dict[str, Any]:
    """The config without what does not tell runs apart, and the arguments of the method."""
    config = json.loads(run.config.to_json())
    chosen = method(config["method"])
    settings = config | {"method": chosen.name} | chosen.arguments
    return {key: value for key, value in settings.items() if key not in _ASIDE}


def _name(run: Run, others: Sequence[Run]) -> str:
    mine, its_title = _settings(run), title(run.config)
    theirs = [(title(other.config), _settings(other)) for other in others]
    told = [
        f"{key}={'default' if value is None else value}"
        for key, value in mine.items()
        if any(
            settings.get(key) != value and (other == its_title or key in _ALWAYS)
            for other, settings in theirs
        )
    ]
    return f"{its_title} ({', '.join(told)})" if told else its_title
