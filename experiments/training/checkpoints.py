"""Checkpoints of everything a run goes on from, the newest two or more, never half written."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.experimental.multihost_utils import process_allgather, sync_global_devices

from experiments.parallel.multihost import is_first
from experiments.training.checksums import check, checksums
from experiments.training.state import TrainState

_KEPT = 2


class Progress(NamedTuple):
    """Where a run stands between two epochs.

    Attributes:
      state: weights, statistics, states of optimizer and policy, keys.
      history: the metrics of each epoch so far; as many as epochs are done. The order of the data
        follows from their number and the seed.
    """

    state: TrainState
    history: list[dict[str, float]]


class Checkpoints:
    """The checkpoints in a folder, named after the number of epochs done.

    Orbax writes into a folder of another name, in the background, and renames it when all is
    there: a death at any moment leaves the ones before. All processes take part.
    """

    def __init__(self, folder: Path, keep_every: int | None = None):
        """Opens the folder; ``keep_every`` is n where those of every n-th epoch are kept, too."""
        kept = [ocp.checkpoint_managers.LatestN(_KEPT)]
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

    def save(self, progress: Progress) -> None:
        """Writes a checkpoint. Its arrays have been copied when this returns."""
        about = {"epochs": progress.history, "checksums": checksums(progress.state._asdict())}
        self._manager.save(
            len(progress.history),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(progress.state),
                history=ocp.args.JsonSave(about),
            ),
        )

    def last_good(self) -> str:
        """Where the newest checkpoint is, in words."""
        self._manager.wait_until_finished()
        newest = self._manager.latest_step()
        return "none" if newest is None else str(self._manager.directory / str(newest))

    def restore(self, blank: Callable[[int], TrainState]) -> Progress | None:
        """Reads the newest checkpoint that can be read; newer ones are set aside, not removed.

        Args:
          blank: number of epochs done to shapes, types and placement of the state then.

        Returns:
          None where there is no checkpoint.

        Raises:
          ValueError: if there are checkpoints but none can be read.
        """
        damaged = []
        for epoch in sorted(self._manager.all_steps(), reverse=True):
            progress = self._try_to_read(epoch, blank)
            # All processes go on from the same one.
            if np.all(process_allgather(np.array(progress is not None))):
                self._set_aside(damaged)  # the run will write them again
                return progress
            damaged.append(epoch)
        if damaged:
            raise ValueError(
                f"none of the checkpoints in {self._manager.directory} can be read; remove that "
                "folder to start over."
            )
        return None

    def _try_to_read(self, epoch: int, blank: Callable[[int], TrainState]) -> Progress | None:
        try:
            return self._read(epoch, blank(epoch))
        except Exception as error:  # whatever the reader stumbles over
            logging.warning("Checkpoint %s cannot be read: %s", self._path(epoch), error)
            return None

    def _read(self, epoch: int, blank: TrainState) -> Progress:
        read = self._manager.restore(
            epoch,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(blank), history=ocp.args.JsonRestore()
            ),
        )
        check(read.state._asdict(), read.history["checksums"])
        return Progress(read.state, read.history["epochs"])

    def _set_aside(self, epochs: Sequence[int]) -> None:
        if is_first():
            for epoch in epochs:
                aside = self._path(epoch).with_name(f"unreadable-{epoch}")
                shutil.rmtree(aside, ignore_errors=True)
                self._path(epoch).rename(aside)
        if epochs:
            sync_global_devices("checkpoints set aside")
            self._manager.reload()

    def _path(self, epoch: int) -> Any:
        return self._manager.directory / str(epoch)


def kept_epochs(folder: Path) -> list[int]:
    """After which epochs the folder has a whole checkpoint, rising. Nothing in it is changed."""
    return sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []


def read_parts(folder: Path, epoch: int, blank: dict[str, Any]) -> dict[str, Any]:
    """Reads parts of the state in a checkpoint. Nothing in the folder is changed.

    They come as NumPy arrays: it does not matter how many devices the run had, or this machine has.

    Args:
      folder: of the checkpoints.
      epoch: number of epochs done.
      blank: fields of ``TrainState`` to trees of the shapes in them; other fields are not read.

    Raises:
      ValueError: if what is read is not what was written.
    """
    checkpoint = folder.absolute() / str(epoch)
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), blank)
    with ocp.PyTreeCheckpointer() as reader:
        parts = reader.restore(
            checkpoint / "state",
            args=ocp.args.PyTreeRestore(blank, restore_args=as_numpy, partial_restore=True),
        )
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        check(parts, reader.restore(checkpoint / "history")["checksums"])
    return parts
