"""Reads finished training runs; nothing is written to their workdirs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging
from flax import nnx
from ml_collections import ConfigDict

from experiments.data import Examples
from experiments.results.measures import data
from experiments.results.measures.functions import (
    Architecture,
    Batch,
    Functions,
    abstract_model,
    architecture,
    make_functions,
)
from experiments.training import run_dir as files
from experiments.training.checkpoints import kept_epochs, read_history
from experiments.training.phases import read_phases
from experiments.training.weights import read_weights

_TASK = "classification"  # the only one whose loss `functions` has
_MAX_LISTED = 20  # items in an error message


class Checkpoint(NamedTuple):
    """A model at the end of an epoch, as NumPy arrays.

    Attributes:
      epoch: number of finished epochs.
      params: weights.
      statistics: running mean and variance of BatchNorm.
    """

    epoch: int
    params: nnx.State
    statistics: nnx.State


class TrainedRun(NamedTuple):
    """A training run with the data and functions to measure it.

    Attributes:
      path: workdir.
      config: config.
      kept_epochs: epochs with a checkpoint, in ascending order.
      checkpoint: checkpoint to measure.
      data: examples of the dataset.
      m: minibatch size.
      architecture: architecture of the model.
      functions: functions of that architecture.
    """

    path: Path
    config: ConfigDict
    kept_epochs: list[int]
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
        """Minibatches of training examples to measure on."""
        return self.with_statistics(data.minibatches(self.data.train, self.m))

    def with_statistics(self, minibatches: Examples) -> Batch:
        """Adds the BatchNorm statistics to the minibatches, as the loss functions expect."""
        num_batches = len(minibatches.labels)
        statistics = data.broadcast_to_batches(self.checkpoint.statistics, num_batches)
        return Batch(minibatches, statistics)

    def at_epoch(self, epoch: int) -> "TrainedRun":
        """The same run at another checkpoint."""
        return self._replace(checkpoint=_read(self, epoch))


def open_run(
    path: Path,
    *,
    examples: int | None = 2048,
    test_examples: int | None = 10_000,
    m: int | None = None,
    batchnorm: str = "running",
    epoch: int | None = None,
    data_dir: str | None = None,
) -> TrainedRun:
    """Opens a run at a checkpoint.

    Args:
      path: folder of the run.
      examples: maximum number of training examples to measure on; None for all.
      test_examples: maximum number of test examples; None for all.
      m: minibatch size; None for that of the run.
      batchnorm: statistics: ``running`` ones of the checkpoint, or of each minibatch (``batch``).
      epoch: epoch of the checkpoint; None for the newest readable one.
      data_dir: folder of the prepared datasets; None for that of the run.

    Raises:
      ValueError: if ``path`` is not the folder of an image classifier's run, or has no such
        checkpoint.
    """
    config = files.read_config(path)
    if config.task != _TASK:
        raise ValueError(f"{path} must hold a run of the task {_TASK!r}, got {config.task!r}.")
    if data_dir is not None:
        config.data_dir = data_dir
    epochs = kept_epochs(path / files.CHECKPOINTS)
    if not epochs:
        raise ValueError(f"{path} has no checkpoint yet.")
    try:
        loaded = data.load(config, examples, test_examples)
        size = config.batch_size if m is None else m
        data.check_m(size, loaded.train)
        arch = architecture(config, loaded.info)
        functions = make_functions(arch, batchnorm)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    nothing_yet = Checkpoint(0, nnx.State({}), nnx.State({}))
    run = TrainedRun(path, config, epochs, nothing_yet, loaded, size, arch, functions)
    return _at_newest(run) if epoch is None else _at_epoch(run, epoch)


def read_metrics(run: TrainedRun) -> list[dict[str, float]]:
    """The logged metrics of each epoch up to the checkpoint."""
    return read_history(run.path / files.CHECKPOINTS, run.checkpoint.epoch)


def method_title(config: ConfigDict) -> str:
    """Title of the method, or "A then B" after a switch."""
    methods = [phase.method for phase in read_phases(config)]
    return " then ".join(method.title(config.optimizer) for method in methods)


def _at_newest(run: TrainedRun) -> TrainedRun:
    for epoch in reversed(run.kept_epochs):
        try:
            return run.at_epoch(epoch)
        except Exception as error:  # any error while reading counts as a damaged checkpoint
            logging.warning("Checkpoint %d of %s cannot be read: %r", epoch, run.path, error)
    raise ValueError(
        f"none of the checkpoints of {run.path} can be read: {_listed(run.kept_epochs)}."
    )


def _at_epoch(run: TrainedRun, epoch: int) -> TrainedRun:
    if epoch not in run.kept_epochs:
        raise ValueError(
            f"{run.path} has no checkpoint of epoch {epoch}; available: {_listed(run.kept_epochs)}."
        )
    try:
        return run.at_epoch(epoch)
    except Exception as error:
        raise ValueError(f"checkpoint {epoch} of {run.path} cannot be read: {error!r}") from error


def _read(run: TrainedRun, epoch: int) -> Checkpoint:
    model = abstract_model(run.architecture)
    weights, statistics = read_weights(run.config, run.path / files.CHECKPOINTS, epoch, model)
    return Checkpoint(epoch, weights, statistics)


def _listed(items: Iterable[Any]) -> str:
    names = [str(item) for item in sorted(items)]
    return ", ".join([*names[:_MAX_LISTED], "..."] if len(names) > _MAX_LISTED else names) or "none"
