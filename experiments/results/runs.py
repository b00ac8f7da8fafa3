"""Runs on disk: a run is its config, and its folder follows from the config."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.configs import base, continual, translation
from experiments.methods import spec
from experiments.methods.table import method
from experiments.results.cost import gradients
from experiments.results.metrics import FinishedRun
from experiments.results.table import Table
from experiments.training import run_dir
from experiments.training.checkpoints import kept_epochs, read_history

DIVERGED = "diverged.json"  # written in place of results if the loss is not finite
_SCORES = "continual.json"  # of lifelong learning, at the end of a run
_DIGITS = 10  # of the hash


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

    @property
    def epochs_done(self) -> int:
        """Epochs logged so far; 0 if the log is missing or unreadable."""
        try:
            return len(run_dir.read_lines(self.path / run_dir.METRICS))
        except (FileNotFoundError, ValueError):
            return 0

    def read(self, measures: Mapping[str, Table]) -> FinishedRun:
        """What is on disk of the finished run, with the tables of its measures."""
        history = run_dir.read_lines(self.path / run_dir.METRICS)
        timing = self.path / run_dir.TIMING
        if timing.exists():
            seconds = {line["epoch"]: line for line in run_dir.read_lines(timing)}
            history = [{**line, **seconds.get(line["epoch"], {})} for line in history]
        final = run_dir.read_json(self.path / _SCORES) if is_lifelong(self.config) else history[-1]
        return FinishedRun(self.config, history, final, measures)

    def command_line(self) -> str:
        """The command that does this run, for a shell."""
        module, file, _ = _command(self.config)
        changed = changed_keys(self.config)
        flags = [f"--config.{key}={_flag_value(value)}" for key, value in changed.items()]
        words = ["python", "-m", module, f"--config=experiments/configs/{file}.py", *flags]
        return shlex.join([*words, f"--workdir={self.path}"])


def run_of(
    config: ConfigDict,
    seed: int,
    root: Path,
    *,
    data_dir: str | None = None,
    minibatches: int | None = None,
) -> Run:
    """The run of a config with one seed.

    Args:
      config: the config.
      seed: the seed.
      root: the folder of all runs.
      data_dir: folder of the prepared datasets; None for the config's.
      minibatches: minibatches of an epoch, if known, for the size of the run.
    """
    config = config.copy_and_resolve_references()
    # One spelling of each method, on the command line and in the folder's name.
    config.update(seed=seed, method=str(method(config.method)))
    if config.switch:
        config.switch = tuple((epoch, str(method(text))) for epoch, text in config.switch)
    if data_dir is not None:
        config.data_dir = data_dir
    size = 1.0 if minibatches is None else gradients(config, minibatches)
    return Run(config, root / _folder_name(config), size)


def is_lifelong(config: ConfigDict) -> bool:
    """Whether the run learns a stream of tasks."""
    return "learner" in config


def changed_keys(config: ConfigDict) -> dict[str, Any]:
    """The keys of a config that differ from the defaults of its config file."""
    *_, defaults = _command(config)
    mine, others = (json.loads(c.to_json()) for c in (config, defaults))
    return {key: value for key, value in sorted(mine.items()) if value != others.get(key)}


def _command(config: ConfigDict) -> tuple[str, str, ConfigDict]:
    """Module, config file and defaults of the command that does a run."""
    if is_lifelong(config):
        return "experiments.continual", "continual", continual.get_config()
    if "max_tokens" in config:
        return "experiments.train", "translation", translation.get_config()
    return "experiments.train", "base", base.get_config()


def _folder_name(config: ConfigDict) -> str:
    """Readable prefix and a hash of the keys that differ from the defaults.

    A new key with a default changes no folder, nor do keys that may change when a run resumes.
    """
    changed = changed_keys(config)
    identity = {key: value for key, value in changed.items() if key not in run_dir.RESUMABLE_KEYS}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    words = [config.get(key) for key in ("dataset", "model", "method")]
    prefix = spec.file_name("-".join(str(word) for word in words if word))[:80]
    return f"{prefix}-seed{config.seed}-{digest}"


def _is_finished(path: Path, config: ConfigDict) -> bool:
    """Whether the last epoch is saved, with the log that is in ``metrics.jsonl``."""
    try:
        if is_lifelong(config):
            return isinstance(run_dir.read_json(path / _SCORES), dict)
        if config.epochs not in kept_epochs(path / run_dir.CHECKPOINTS):
            return False
        saved = read_history(path / run_dir.CHECKPOINTS, config.epochs)
        logged: Sequence[Any] = run_dir.read_lines(path / run_dir.METRICS)
    except (OSError, LookupError, TypeError, ValueError):  # damaged: the run does it again
        return False
    return json.dumps(saved) == json.dumps(logged)  # as text: NaN is not equal to itself


def _flag_value(value: Any) -> str:
    if isinstance(value, list):  # switch: a tuple of pairs
        return repr(tuple(tuple(v) if isinstance(v, list) else v for v in value))
    return str(value)
