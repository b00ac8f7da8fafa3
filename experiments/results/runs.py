"""Runs on disk: a run is its config, and its folder follows from the config."""

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.configs import base, continual, forecasting, translation
from experiments.continual.results import RESULT
from experiments.methods.table import method
from experiments.results.cost import gradients
from experiments.results.metrics import FinishedRun
from experiments.results.table import Table
from experiments.tasks.continual.learners import is_lifelong
from experiments.training import run_dir
from experiments.training.checkpoints import kept_epochs, read_history
from experiments.training.metrics import is_finished

DIVERGED = "diverged.json"  # written in place of results if the loss is not finite
# Setups with keys that base.py does not have, by task.
_SETUPS: Mapping[str, ModuleType] = {
    "forecasting": forecasting,
    "multi_head": continual,
    "translation": translation,
}


class Run(NamedTuple):
    """A training run.

    Attributes:
      config: its config, seed included.
      path: its folder.
      size: expected number of its gradients.
    """

    config: ConfigDict
    path: Path
    size: float = 1.0

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to train: it finished, or it diverged."""
        return self.diverged or _is_finished(self.path, self.config)

    @property
    def diverged(self) -> bool:
        """Whether it stopped with a loss that is not finite."""
        return (self.path / DIVERGED).exists()

    def read(self, measures: Mapping[str, Table]) -> FinishedRun:
        """What is on disk of the finished run, with the tables of its measures."""
        history = run_dir.read_lines(self.path / run_dir.METRICS)
        timing = self.path / run_dir.TIMING
        if timing.exists():
            seconds = {line["epoch"]: line for line in run_dir.read_lines(timing)}
            history = [{**line, **seconds.get(line["epoch"], {})} for line in history]
        final = run_dir.read_json(self.path / RESULT) if is_lifelong(self.config) else history[-1]
        return FinishedRun(self.config, history, final, measures)

    def command_line(self) -> str:
        """The command that does this run, for a shell."""
        setup = _SETUPS.get(self.config.task, base)
        mine, default = (json.loads(c.to_json()) for c in (self.config, setup.get_config()))
        flags = [
            f"--config.{key}={_flag_value(value)}"
            for key, value in sorted(mine.items())
            if value != default[key]
        ]
        file = f"experiments/configs/{setup.__name__.rpartition('.')[2]}.py"
        words = ["python", "-m", "experiments.train", f"--config={file}", *flags]
        return shlex.join([*words, f"--workdir={self.path}"])


def run_of(
    config: ConfigDict,
    seed: int,
    root: Path,
    *,
    data_dir: str | None = None,
    minibatches: int | None = None,
    draws_data: bool = False,
) -> Run:
    """The run of a config with one seed.

    Args:
      config: the config.
      seed: the seed.
      root: the folder of all runs.
      data_dir: folder of the prepared datasets; None for the config's.
      minibatches: minibatches of an epoch, if known, for the size of the run.
      draws_data: whether the seed also draws subset, held-out part, folds and wrong labels.
    """
    config = config.copy_and_resolve_references()
    # One spelling of each method, on the command line and in the folder's name.
    config.update(seed=seed, method=str(method(config.method)))
    if config.switch:
        config.switch = tuple((epoch, str(method(text))) for epoch, text in config.switch)
    if data_dir is not None:
        config.data_dir = data_dir
    if draws_data:
        config.data_seed = seed
    size = 1.0 if minibatches is None else gradients(config, minibatches)
    return Run(config, root / run_dir.run_name(config), size)


def _is_finished(path: Path, config: ConfigDict) -> bool:
    """Whether the last epoch is saved, with the log that is in ``metrics.jsonl``."""
    try:
        if is_lifelong(config):
            return isinstance(run_dir.read_json(path / RESULT), dict)
        last = max(kept_epochs(path / run_dir.CHECKPOINTS), default=0)
        saved = read_history(path / run_dir.CHECKPOINTS, last)
        logged: Sequence[Any] = run_dir.read_lines(path / run_dir.METRICS)
    except (OSError, LookupError, TypeError, ValueError):  # damaged: the run does it again
        return False
    # As text: NaN is not equal to itself.
    return is_finished(saved, config.epochs) and json.dumps(saved) == json.dumps(logged)


def _flag_value(value: Any) -> str:
    if isinstance(value, list):  # switch: a tuple of pairs
        return repr(tuple(tuple(v) if isinstance(v, list) else v for v in value))
    return str(value)


def hours(missing: Iterable[Run], finished: Iterable[Run]) -> float | None:
    """Hours that runs will take, by the time of finished ones with the same model and data.

    None if there is no such run for one of them. The time includes compilation and evaluation.
    """
    seconds: dict[tuple, float] = defaultdict(float)
    gradients: dict[tuple, float] = defaultdict(float)
    for run in finished:
        if (run.path / run_dir.TIMING).exists():
            seconds[_speed_class(run)] += run_dir.total_seconds(run.path)
            gradients[_speed_class(run)] += run.size
    total = 0.0
    for run in missing:
        if _speed_class(run) not in gradients:
            return None
        total += run.size * seconds[_speed_class(run)] / gradients[_speed_class(run)]
    return total / 3600


def _speed_class(run: Run) -> tuple:
    keys = ("dataset", "model", "batch_size", "max_tokens", "dtype")
    return tuple(run.config.get(key) for key in keys)
