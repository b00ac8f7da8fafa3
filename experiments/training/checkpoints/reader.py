"""Reads checkpoints; changes nothing in their folder."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.experimental.multihost_utils import process_allgather

from experiments.training.checkpoints import checksums
from experiments.training.checkpoints.names import Position, entries
from experiments.training.checkpoints.orbax_errors import reason, without_logs
from experiments.training.metrics import Record, steps_from_json
from experiments.training.state import Metrics, State


class Progress(NamedTuple, Generic[State]):
    """Training progress at the end of an epoch, or within one.

    Attributes:
      state: weights, statistics, states of optimizer and policy, key.
      history: metrics of each finished epoch.
      step_metrics: metrics of each finished step of the epoch after them. The order of the data
        follows from the two numbers and the seed.
    """

    state: State
    history: list[Record]
    step_metrics: Sequence[Metrics] = ()

    @property
    def position(self) -> Position:
        """Number of finished epochs and steps."""
        return Position(len(self.history), len(self.step_metrics))


def read_newest(
    folder: Path,
    abstract_state_fn: Callable[[int], State],
    steps_per_epoch: int | None = None,
) -> Progress[State] | None:
    """Reads the newest readable checkpoint, with a warning for each newer, damaged one.

    All processes take part, and read the same one.

    Args:
      folder: folder of the checkpoints.
      abstract_state_fn: ``(num_epochs) -> state``, shapes, types and shardings of the state in the
        last of that many epochs.
      steps_per_epoch: number of steps of an epoch, where training is to go on within one.

    Returns:
      None if there is no checkpoint.

    Raises:
      ValueError: if there are checkpoints but none can be read.
    """
    positions = entries(folder)
    for position in reversed(positions):
        # The files first: reading takes all processes, which would wait for one that has failed.
        with _damage_as_warning(folder / str(position)) as is_whole:
            checksums.check_files(folder / str(position))
        if not _in_all_processes(is_whole):
            continue
        with without_logs():
            with _damage_as_warning(folder / str(position)) as is_read:
                abstract_state = abstract_state_fn(position.begun)
                progress = _read(folder, position, abstract_state, steps_per_epoch)
            if not is_read:
                gc.collect()  # unfinished coroutines report themselves when they are collected
        if _in_all_processes(is_read):
            return progress
    if positions:
        raise ValueError(
            f"none of the checkpoints in {folder} can be read; remove that folder to start over."
        )
    return None


def read_fields(folder: Path, epoch: int, abstract: dict[str, Any]) -> dict[str, Any]:
    """Reads fields of the state in a checkpoint as NumPy arrays.

    The numbers of devices of the run and of this machine do not matter.

    Args:
      folder: folder of the checkpoints.
      epoch: number of finished epochs.
      abstract: fields of the state to trees of their shapes; other fields are not read.

    Raises:
      ValueError: if a number is not the one that was written.
    """
    path = folder.absolute() / str(epoch)
    checksums.check_files(path)
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), abstract)
    with without_logs(), ocp.PyTreeCheckpointer() as reader:
        fields = reader.restore(
            path / "state",
            args=ocp.args.PyTreeRestore(abstract, restore_args=as_numpy, partial_restore=True),
        )
    checksums.check_arrays(fields, _read_about(path, Position(epoch))["checksums"])
    return fields


def read_history(folder: Path, epoch: int) -> list[Record]:
    """Reads the metrics of the epochs up to a checkpoint."""
    return _read_about(folder / str(epoch), Position(epoch))["epochs"]


def _read(
    folder: Path, position: Position, abstract_state: State, steps_per_epoch: int | None
) -> Progress[State]:
    path = folder.absolute() / str(position)
    about = _read_about(path, position)
    if steps_per_epoch not in (None, about.get("steps_per_epoch", steps_per_epoch)):
        # Such as of batches by tokens, divided among another number of devices.
        raise ValueError(
            f"its epochs have {about['steps_per_epoch']} steps, those of this run {steps_per_epoch}"
        )
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        state = reader.restore(path / "state", args=ocp.args.StandardRestore(abstract_state))
    checksums.check_arrays(state._asdict(), about["checksums"])
    return Progress(state, about["epochs"], steps_from_json(about.get("step_metrics", {})))


def _read_about(checkpoint: Path, position: Position) -> dict[str, Any]:
    """Reads the metrics of epochs and steps, and the checksums of the arrays."""
    about = dict(ocp.JsonCheckpointHandler().restore(checkpoint / "history"))
    history, steps = about["epochs"], about.get("step_metrics", {})
    # Checkpoints of earlier versions have no checksum of the history.
    checksum = about.get("history_checksum", checksums.of_history(history, steps))
    number_of_each = Position(len(history), len(steps_from_json(steps)))
    if number_of_each != position or checksum != checksums.of_history(history, steps):
        raise ValueError("the history is not the one that was written")
    return about


@contextmanager
def _damage_as_warning(checkpoint: Path) -> Iterator[list[bool]]:
    """Yields a list that is empty once there was an error, of whatever type."""
    succeeded = [True]
    try:
        yield succeeded
    except Exception as error:
        logging.warning("Checkpoint %s cannot be read: %s", checkpoint, reason(error))
        succeeded.clear()


def _in_all_processes(succeeded: Sequence[bool]) -> bool:
    return bool(np.all(process_allgather(np.array(bool(succeeded)))))
