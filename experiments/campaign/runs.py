"""Runs of a campaign: a run is its config, and its folder follows from the config."""

import hashlib
import json
import shlex
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.campaign.commands import Command
from experiments.methods import spec
from experiments.methods.table import method
from experiments.recipes.recipe import Cell
from experiments.training import run_dir

DIVERGED = "diverged.json"  # written in place of results if the loss is not finite
_DIGITS = 10  # of the hash


class Run(NamedTuple):
    """A training run of a campaign.

    Attributes:
      command: the command that does it.
      config: its config, seed included.
      path: its folder.
    """

    command: Command
    config: ConfigDict
    path: Path

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to train: it finished, or it diverged."""
        return self.diverged or self.command.finished(self.path, self.config)

    @property
    def diverged(self) -> bool:
        """Whether it stopped with a loss that is not finite."""
        return (self.path / DIVERGED).exists()

    @property
    def is_started(self) -> bool:
        """Whether at least one epoch is done."""
        return self.is_done or self.epochs_done > 0

    @property
    def epochs_done(self) -> int:
        """Number of epochs in its log; of a damaged one, which the run writes anew, none."""
        try:
            return len(run_dir.read_lines(self.path / run_dir.METRICS))
        except (FileNotFoundError, ValueError):
            return 0

    def command_line(self) -> str:
        """The command that does this run, for a shell."""
        flags = [
            f"--config.{key}={_flag_value(value)}"
            for key, value in different(self.config, self.command.defaults()).items()
        ]
        words = ["python", "-m", self.command.module, f"--config={self.command.config_file}"]
        return shlex.join([*words, *flags, f"--workdir={self.path}"])


def run_of(cell: Cell, seed: int, command: Command, root: Path, data_dir: str | None) -> Run:
    """The run of a cell with one seed, in a folder below ``root``."""
    config = deepcopy(cell.config)
    config.seed = seed
    if "method" in config:  # the same string in the recipe, on the command line and in the folder
        config.method = str(method(config.method))
    if config.get("switch"):
        config.switch = tuple((epoch, str(method(text))) for epoch, text in config.switch)
    if data_dir is not None and "data_dir" in config:
        config.data_dir = data_dir
    return Run(command, config, root / folder_name(config, command))


def folder_name(config: ConfigDict, command: Command) -> str:
    """Readable prefix and a hash of the config.

    The hash is that of the keys whose values differ from the command's defaults, so that a new key
    with a default changes no folder. Keys that may change when a run resumes are not part of it.
    """
    changed = different(config, command.defaults())
    identity = {key: value for key, value in changed.items() if key not in run_dir.RESUMABLE_KEYS}
    text = json.dumps(identity, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
    words = [config.get(key) for key in ("dataset", "model", "method")]
    prefix = spec.file_name("-".join(str(word) for word in words if word))[:80]
    return f"{prefix}-seed{config.seed}-{digest}"


def different(config: ConfigDict, defaults: ConfigDict) -> dict[str, Any]:
    """The keys of a config that differ from the defaults."""
    mine, base = (json.loads(c.to_json()) for c in (config, defaults))
    return {key: value for key, value in sorted(mine.items()) if value != base.get(key)}


def _flag_value(value: Any) -> str:
    if isinstance(value, list):  # switch: a tuple of pairs
        return repr(tuple(tuple(v) if isinstance(v, list) else v for v in value))
    return str(value)


def write_diverged(run: Run, message: str) -> None:
    """Marks a run as diverged."""
    run_dir.write_lines(run.path / DIVERGED, [{"message": message}])
