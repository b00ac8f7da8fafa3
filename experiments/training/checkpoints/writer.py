"""Atomic checkpoints of the full training state; the newest two are kept, or more."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Self

import jax
import orbax.checkpoint as ocp
from jax.experimental.multihost_utils import sync_global_devices

from experiments.parallel.multihost import is_main_process
from experiments.storage import disk
from experiments.training.checkpoints import checksums
from experiments.training.checkpoints.orbax_errors import reason, without_logs
from experiments.training.checkpoints.reader import Progress, entries, kept_epochs, read_newest
from experiments.training.metrics import Record
from experiments.training.state import AnyState, State

_NUM_KEPT = 2
_MARGIN = 1 << 20  # bytes; more than a checkpoint has in addition to its arrays


def every(
    epochs: int, last: int, save: Callable[[State, list[Record]], None]
) -> Callable[[State, list[Record]], None]:
    """Saves after each multiple of ``epochs``, and after the ``last`` epoch."""

    def save_some(state: State, history: list[Record]) -> None:
        if len(history) % epochs == 0 or len(history) == last:
            save(state, history)

    return save_some


class Checkpoints:
    """The checkpoints in a folder, named after the number of finished epochs.

    Writes are atomic: Orbax writes to a temporary folder, in the background, and renames it when
    complete. All processes of a run take part, and no other run may write to the folder.
    """

    def __init__(self, folder: Path, keep_every: int | None = None):
        """Makes the folder; the checkpoint of every ``keep_every``-th epoch is kept as well."""
        self._folder = folder.absolute()
        self._keep_every = keep_every
        self._newest: Path | None = None  # the last one that was begun
        if is_main_process():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._remove_drafts()

    @cached_property
    def _manager(self) -> ocp.CheckpointManager:
        """Made for the first checkpoint that is written: damaged ones have been renamed by then."""
        kept = [ocp.checkpoint_managers.LatestN(_NUM_KEPT)]
        if self._keep_every is not None:
            kept.append(ocp.checkpoint_managers.EveryNSteps(self._keep_every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(kept),
            async_options=ocp.AsyncOptions(
                # Called before the temporary folder is renamed.
                post_finalization_callback=self._write_checksums,
                # In the background, an error would be noticed by a timeout only.
                create_directories_asynchronously=False,
            ),
            lightweight_initialize=True,  # opens no file of the older checkpoints
        )
        return ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> Self:
        self._logs = without_logs()
        self._logs.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if "_manager" in vars(self):
                with self._errors_in_one_line():
                    self._manager.close()  # waits for the last one to be written
        except OSError:
            if error is None:  # otherwise that one is to be reported
                raise
        finally:
            if is_main_process():
                self._remove_drafts()
            self._logs.__exit__(None, None, None)

    def save(self, state: AnyState, history: list[Record]) -> None:
        """Writes a checkpoint. The arrays have been copied when this returns.

        Raises:
          OSError: if this one or the one before cannot be written.
        """
        fields = state._asdict()
        about = {
            "epochs": history,
            "checksums": checksums.of_arrays(fields),
            "history_checksum": checksums.of_history(history),
        }
        self._wait()
        if is_main_process():
            num_bytes = sum(x.nbytes for x in jax.tree.leaves(fields))
            disk.reserve(self._folder, num_bytes + _MARGIN)
        self._newest = self._folder / str(len(history))
        with self._errors_in_one_line():
            self._manager.save(
                len(history),
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), history=ocp.args.JsonSave(about)
                ),
            )

    def newest_path(self) -> str:
        """The path of the newest checkpoint, or "none"."""
        self._wait()
        epochs = kept_epochs(self._folder)
        return str(self._folder / str(epochs[-1])) if epochs else "none"

    def restore(self, abstract_state_fn: Callable[[int], State]) -> Progress[State] | None:
        """Reads the newest readable checkpoint; newer, damaged ones are renamed, not removed.

        Arguments, result and errors are those of :func:`read_newest`.
        """
        epochs = entries(self._folder)
        progress = read_newest(self._folder, abstract_state_fn)
        if progress is not None:
            # The run will write these again.
            self._rename_damaged([epoch for epoch in epochs if epoch > len(progress.history)])
        return progress

    def _rename_damaged(self, epochs: Sequence[int]) -> None:
        if is_main_process():
            for epoch in epochs:
                unreadable = self._folder / f"unreadable-{epoch}"
                shutil.rmtree(unreadable, ignore_errors=True)
                (self._folder / str(epoch)).rename(unreadable)
        if epochs:
            sync_global_devices("damaged checkpoints renamed")

    def _wait(self) -> None:
        """Waits for the last checkpoint to be written."""
        if self._newest is not None:
            with self._errors_in_one_line():
                self._manager.wait_until_finished()

    @contextmanager
    def _errors_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Orbax raises errors of many types
            raise OSError(f"{self._newest} cannot be written: {reason(error)}") from error

    def _write_checksums(self) -> None:
        assert self._newest is not None  # this one is being written
        checksums.write_files(self._newest.with_name(self._newest.name + ocp.utils.TMP_DIR_SUFFIX))

    def _remove_drafts(self) -> None:
        """Removes what a run that was killed, or a full disk, has left half-written."""
        for draft in self._folder.glob(f"*{ocp.utils.TMP_DIR_SUFFIX}"):
            shutil.rmtree(draft, ignore_errors=True)
