"""The commands that do runs, and how their folders are read."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.configs import base, continual, translation
from experiments.training import run_dir
from experiments.training.checkpoints import kept_epochs, read_history

History = Sequence[Mapping[str, float]]


class Command(NamedTuple):
    """A command that trains.

    Attributes:
      module: what ``python -m`` is given.
      config_file: the config file with its defaults.
      defaults: ``() -> config``, the defaults of that file.
      finished: ``(workdir, config) -> bool``, whether a run is complete.
      read: ``workdir -> (history, final)``, metrics and timing by epoch, and numbers at
        the end.
    """

    module: str
    config_file: str
    defaults: Callable[[], ConfigDict]
    finished: Callable[[Path, ConfigDict], bool]
    read: Callable[[Path], tuple[History, Mapping[str, Any]]]


def _train_finished(workdir: Path, config: ConfigDict) -> bool:
    """Whether there is a checkpoint of the last epoch, and the log is what is saved in it.

    If not, the command trains again what is missing, and writes the log anew.
    """
    folder = workdir / run_dir.CHECKPOINTS
    if config.epochs not in kept_epochs(folder):
        return False
    try:
        saved, logged = read_history(folder, config.epochs), _log(workdir)
    except (OSError, LookupError, TypeError, ValueError):  # one of them is damaged
        return False
    return json.dumps(saved) == json.dumps(logged)  # as text: NaN is not equal to itself


def _train_read(workdir: Path) -> tuple[History, Mapping[str, Any]]:
    metrics, file = _log(workdir), workdir / run_dir.TIMING
    timing = {line["epoch"]: line for line in run_dir.read_lines(file)} if file.exists() else {}
    return [{**line, **timing.get(line["epoch"], {})} for line in metrics], metrics[-1]


def _log(workdir: Path) -> History:
    return run_dir.read_lines(workdir / run_dir.METRICS)


_CONTINUAL_RESULT = "continual.json"


def _continual_finished(workdir: Path, config: ConfigDict) -> bool:
    del config
    try:
        return isinstance(run_dir.read_json(workdir / _CONTINUAL_RESULT), dict)
    except (OSError, ValueError):  # missing or damaged: the command writes it anew
        return False


def _continual_read(workdir: Path) -> tuple[History, Mapping[str, Any]]:
    metrics = workdir / run_dir.METRICS
    history = run_dir.read_lines(metrics) if metrics.exists() else []
    return history, run_dir.read_json(workdir / _CONTINUAL_RESULT)


COMMANDS: Mapping[str, Command] = {
    "train": Command(
        "experiments.train",
        "experiments/configs/base.py",
        base.get_config,
        _train_finished,
        _train_read,
    ),
    "translation": Command(
        "experiments.train",
        "experiments/configs/translation.py",
        translation.get_config,
        _train_finished,
        _train_read,
    ),
    "continual": Command(
        "experiments.continual",
        "experiments/configs/continual.py",
        continual.get_config,
        _continual_finished,
        _continual_read,
    ),
}
