"""Atomic checkpoints of the full training state; the newest two are kept, or more."""

import functools
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.experimental.multihost_utils import process_allgather, sync_global_devices

from experiments.parallel.multihost import is_main_process
from experiments.training.metrics import Record
from experiments.training.state import AnyState, State

_NUM_KEPT = 2


class Progress(NamedTuple, Generic[State]):
    """Training progress at the end of an epoch.

    Attributes:
      state: weights, statistics, states of optimizer and policy, key.
      history: metrics of each finished epoch. The order of the data follows from their number and
        the seed.
    """

    state: State
    history: list[Record]


class Checkpoints:
    """The checkpoints in a folder, named after the number of finished epochs.

    Writes are atomic: Orbax writes to a temporary folder, in the background, and renames it when
    complete. All processes take part.
    """

    def __init__(self, folder: Path, keep_every: int | None = None):
        """Opens the folder; the checkpoint of every ``keep_every``-th epoch is kept as well."""
        kept = [ocp.checkpoint_managers.LatestN(_NUM_KEPT)]
        if keep_every is not None:
            kept.append(ocp.checkpoint_managers.EveryNSteps(keep_every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(kept)
        )
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._manager.close()  # waits for the last one to be written

    def save(self, state: AnyState, history: list[Record]) -> None:
        """Writes a checkpoint. The arrays have been copied when this returns."""
        about = {"epochs": history, "checksums": checksums(state._asdict())}
        self._manager.save(
            len(history),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), history=ocp.args.JsonSave(about)
            ),
        )

    def newest_path(self) -> str:
        """The path of the newest checkpoint, or "none"."""
        self._manager.wait_until_finished()
        newest = self._manager.latest_step()
        return "none" if newest is None else str(self._manager.directory / str(newest))

    def restore(self, abstract_state_fn: Callable[[int], State]) -> Progress[State] | None:
        """Reads the newest readable checkpoint; newer, damaged ones are renamed, not removed.

        Args:
          abstract_state_fn: ``(num_epochs) -> state``, shapes, types and shardings of the
            state after that many epochs.

        Returns:
          None if there is no checkpoint.

        Raises:
          ValueError: if there are checkpoints but none can be read.
        """
        damaged: list[int] = []
        for epoch in sorted(self._manager.all_steps(), reverse=True):
            progress = self._try_to_read(epoch, abstract_state_fn)
            # All processes resume from the same one.
            if np.all(process_allgather(np.array(progress is not None))):
                self._rename_damaged(damaged)  # the run will write them again
                return progress
            damaged.append(epoch)
        if damaged:
            raise ValueError(
                f"none of the checkpoints in {self._manager.directory} can be read; remove that "
                "folder to start over."
            )
        return None

    def _try_to_read(
        self, epoch: int, abstract_state_fn: Callable[[int], State]
    ) -> Progress[State] | None:
        try:
            return self._read(epoch, abstract_state_fn(epoch))
        except Exception as error:  # any error while reading counts as a damaged checkpoint
            logging.warning("Checkpoint %s cannot be read: %s", self._path(epoch), error)
            return None

    def _read(self, epoch: int, abstract_state: State) -> Progress[State]:
        read = self._manager.restore(
            epoch,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(abstract_state), history=ocp.args.JsonRestore()
            ),
        )
        check(read.state._asdict(), read.history["checksums"])
        return Progress(read.state, read.history["epochs"])

    def _rename_damaged(self, epochs: Sequence[int]) -> None:
        if is_main_process():
            for epoch in epochs:
                unreadable = self._path(epoch).with_name(f"unreadable-{epoch}")
                shutil.rmtree(unreadable, ignore_errors=True)
                self._path(epoch).rename(unreadable)
        if epochs:
            sync_global_devices("damaged checkpoints renamed")
            self._manager.reload()

    def _path(self, epoch: int) -> Any:
        return self._manager.directory / str(epoch)


def kept_epochs(folder: Path) -> list[int]:
    """The epochs of the complete checkpoints in a folder, ascending. Changes nothing in it."""
    return sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []


def read_fields(folder: Path, epoch: int, abstract: dict[str, Any]) -> dict[str, Any]:
    """Reads fields of the state in a checkpoint as NumPy arrays. Changes nothing in the folder.

    The numbers of devices of the run and of this machine do not matter.

    Args:
      folder: folder of the checkpoints.
      epoch: number of finished epochs.
      abstract: fields of the state to trees of their shapes; other fields are not read.

    Raises:
      ValueError: if what is read is not what was written.
    """
    checkpoint = folder.absolute() / str(epoch)
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), abstract)
    with ocp.PyTreeCheckpointer() as reader:
        fields = reader.restore(
            checkpoint / "state",
            args=ocp.args.PyTreeRestore(abstract, restore_args=as_numpy, partial_restore=True),
        )
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        check(fields, reader.restore(checkpoint / "history")["checksums"])
    return fields


def checksums(fields: Mapping[str, Any]) -> dict[str, int]:
    """CRC-32 of all arrays in each field. Waits for them.

    A disk, or a copy over a network, can change a number in a checkpoint and leave it readable.
    """
    return {name: _checksum(tree) for name, tree in fields.items()}


def check(fields: Mapping[str, Any], expected: Mapping[str, int]) -> None:
    """Raises ValueError unless each field has the expected checksum."""
    for name, checksum in checksums(fields).items():
        if checksum != expected[name]:
            raise ValueError(f"the arrays of {name} are not those that were written")


def _checksum(tree: Any) -> int:
    arrays = map(_to_numpy, jax.tree.leaves(tree))
    return functools.reduce(lambda crc, x: zlib.crc32(x.tobytes(), crc), arrays, 0)


def _to_numpy(x: jax.Array) -> np.ndarray:
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)
