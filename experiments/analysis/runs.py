"""Opening the workdir of a training run, which is read and never written to."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging
from flax import nnx
from ml_collections import ConfigDict

from experiments.analysis import data
from experiments.analysis.functions import (
    Architecture,
    Batch,
    Functions,
    abstract_model,
    architecture,
    functions,
)
from experiments.configs import base
from experiments.data import Examples
from experiments.methods.table import method
from experiments.training import run_dir as files
from experiments.training.checkpoints import kept_epochs, read_parts
from experiments.training.method_switch import methods_by_epoch
from experiments.training.state import weights_of

_NAMED = 20  # how many runs an error lists at most


class Checkpoint(NamedTuple):
    """A model in the middle or at the end of a run, as NumPy arrays.

    Attributes:
      epoch: number of epochs done.
      params: its weights.
      statistics: BatchNorm's running mean and variance.
    """

    epoch: int
    params: nnx.State
    statistics: nnx.State


class Run(NamedTuple):
    """A training run, and what to measure it with.

    Attributes:
      path: its workdir.
      config: its config.
      kept: the epochs of which there are checkpoints, rising.
      checkpoint: the one to measure.
      data: examples of its data.
      m: the size of minibatches.
      architecture: of its model.
      functions: of that architecture.
    """

    path: Path
    config: ConfigDict
    kept: list[int]
    checkpoint: Checkpoint
    data: data.Data
    m: int
    architecture: Architecture
    functions: Functions

    @property
    def params(self) -> nnx.State:
        """The weights to measure."""
        return self.checkpoint.params

    @property
    def batches(self) -> Batch:
        """The minibatches to measure on."""
        return self.with_statistics(data.minibatches(self.data.train, self.m))

    def with_statistics(self, minibatches: Examples) -> Batch:
        """Minibatches as the loss functions want them."""
        number = len(minibatches.labels)
        return Batch(minibatches, data.beside_each(self.checkpoint.statistics, number))

    def at(self, epoch: int) -> "Run":
        """The same run at another checkpoint."""
        return self._replace(checkpoint=_read(self, epoch))


def open_run(path: Path, options: argparse.Namespace) -> Run:
    """Opens a run at the checkpoint of ``options.epoch``; unset, at the newest that can be read.

    Raises:
      ValueError: if this is no run, or has no such checkpoint.
    """
    config = _read_config(path)
    if options.data_dir is not None:
        config.data_dir = options.data_dir
    kept = kept_epochs(path / files.CHECKPOINTS)
    if not kept:
        raise ValueError(
            f"{path} has no checkpoint yet; it holds: {_listed(p.name for p in path.iterdir())}."
        )
    examples = data.load(config, options.examples, options.test_examples)
    of = architecture(config, examples.facts)
    run = Run(
        path,
        config,
        kept,
        Checkpoint(0, nnx.State({}), nnx.State({})),
        examples,
        config.batch_size if options.m is None else options.m,
        of,
        functions(of, options.batchnorm),
    )
    return _newest(run) if options.epoch is None else _at(run, options.epoch)


def read_metrics(run: Run) -> list[dict[str, float]]:
    """What the run logged, up to the checkpoint."""
    return files.read_lines(run.path / files.METRICS)[: run.checkpoint.epoch]


def title(config: ConfigDict) -> str:
    """The method's name, or those of the methods one after the other."""
    methods = dict.fromkeys(methods_by_epoch(config))
    return " then ".join(method(text).title(config.optimizer) for text in methods)


def _read_config(path: Path) -> ConfigDict:
    """The config, with defaults for keys that are newer than the run."""
    file = path / files.CONFIG
    if not file.exists():
        problem = f"has no {files.CONFIG}" if path.is_dir() else "is no folder"
        near = path if path.is_dir() else path.parent
        below = [p.parent for depth in ("*", "*/*") for p in near.glob(f"{depth}/{files.CONFIG}")]
        found = _listed(p.relative_to(near) for p in below)
        raise ValueError(f"{path} {problem}; runs in {near}: {found}.")
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} cannot be read: {error}.") from error
    return ConfigDict(json.loads(base.get_config().to_json()) | saved)


def _newest(run: Run) -> Run:
    for epoch in reversed(run.kept):
        try:
            return run.at(epoch)
        except Exception as error:  # whatever the reader stumbles over
            logging.warning("Checkpoint %d of %s cannot be read: %s", epoch, run.path, error)
    raise ValueError(f"none of the checkpoints of {run.path} can be read: {_listed(run.kept)}.")


def _at(run: Run, epoch: int) -> Run:
    if epoch not in run.kept:
        raise ValueError(
            f"{run.path} has no checkpoint of epoch {epoch}; there are: {_listed(run.kept)}."
        )
    try:
        return run.at(epoch)
    except Exception as error:
        raise ValueError(f"checkpoint {epoch} of {run.path} cannot be read: {error}") from error


def _read(run: Run, epoch: int) -> Checkpoint:
    model = abstract_model(run.architecture)
    _, params, statistics = nnx.split(model, nnx.Param, nnx.BatchStat)
    # What the method calls params: for Lookahead, fast and slow weights.
    wrap_params = method(methods_by_epoch(run.config)[epoch - 1]).row.wrap_params
    blank = {"params": jax.eval_shape(wrap_params, params), "batch_stats": statistics}
    read = read_parts(run.path / files.CHECKPOINTS, epoch, blank)
    return Checkpoint(epoch, weights_of(read["params"]), read["batch_stats"])


def _listed(things: Iterable[Any]) -> str:
    names = [str(thing) for thing in sorted(things)]
    return ", ".join([*names[:_NAMED], "..."] if len(names) > _NAMED else names) or "none"
