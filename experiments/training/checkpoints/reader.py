"""Reads checkpoints; changes nothing in their folder."""

import gc
import re
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
from experiments.training.checkpoints.orbax_errors import reason, without_logs
from experiments.training.metrics import Record
from experiments.training.state import State


class Progress(NamedTuple, Generic[State]):
    """Training progress at the end of an epoch.

    Attributes:
      state: weights, statistics, states of optimizer and policy, key.
      history: metrics of each finished epoch. The order of the data follows from their number and
        the seed.
    """

    state: State
    history: list[Record]


def entries(folder: Path) -> list[int]:
    """The epochs of all entries of a folder that are named like a checkpoint, ascending."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name))


def kept_epochs(folder: Path) -> list[int]:
    """The epochs of the complete checkpoints in a folder, ascending."""
    return [epoch for epoch in entries(folder) if (folder / str(epoch)).is_dir()]


def read_newest(folder: Path, abstract_state_fn: Callable[[int], State]) -> Progress[State] | None:
    """Reads the newest readable checkpoint, with a warning for each newer, damaged one.

    All processes take part, and read the same one.

    Args:
      folder: folder of the checkpoints.
      abstract_state_fn: ``(num_epochs) -> state``, shapes, types and shardings of the state after
        that many epochs.

    Returns:
      None if there is no checkpoint.

    Raises:
      ValueError: if there are checkpoints but none can be read.
    """
    epochs = entries(folder)
    for epoch in reversed(epochs):
        # The files first: reading takes all processes, which would wait for one that has failed.
        with _damage_as_warning(folder / str(epoch)) as is_whole:
            checksums.check_files(folder / str(epoch))
        if not _in_all_processes(is_whole):
            continue
        with without_logs():
            with _damage_as_warning(folder / str(epoch)) as is_read:
                progress = _read(folder, epoch, abstract_state_fn(epoch))
            if not is_read:
                gc.collect()  # unfinished coroutines report themselves when they are collected
        if _in_all_processes(is_read):
            return progress
    if epochs:
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
    checksums.check_arrays(fields, _read_about(path, epoch)["checksums"])
    return fields


def read_history(folder: Path, epoch: int) -> list[Record]:
    """Reads the metrics of the epochs up to a checkpoint."""
    return _read_about(folder / str(epoch), epoch)["epochs"]


def _read(folder: Path, epoch: int, abstract_state: State) -> Progress[State]:
    path = folder.absolute() / str(epoch)
    about = _read_about(path, epoch)
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        state = reader.restore(path / "state", args=ocp.args.StandardRestore(abstract_state))
    checksums.check_arrays(state._asdict(), about["checksums"])
    return Progress(state, about["epochs"])


def _read_about(checkpoint: Path, epoch: int) -> dict[str, Any]:
    """Reads the metrics of the epochs and the checksums of the arrays."""
    about = dict(ocp.JsonCheckpointHandler().restore(checkpoint / "history"))
    history = about["epochs"]
    # Checkpoints of earlier versions have no checksum of the history.
    checksum = about.get("history_checksum", checksums.of_history(history))
    if len(history) != epoch or checksum != checksums.of_history(history):
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
