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
from experiments.training.checkpoints.names import NameFormat, Position, entries
from experiments.training.checkpoints.orbax_errors import reason, without_logs
from experiments.training.checkpoints.reader import Progress, read_newest
from experiments.training.metrics import Record, steps_to_json
from experiments.training.state import AnyState, Metrics, State

_NUM_KEPT = 2
_MARGIN = 1 << 20  # bytes; more than a checkpoint has in addition to its arrays


class Checkpoints:
    """The checkpoints in a folder, named after the finished epochs, and steps after them.

    Writes are atomic: Orbax writes to a temporary folder, in the background, and renames it when
    complete. All processes of a run take part, and no other run may write to the folder.
    """

    def __init__(self, folder: Path, keep_every: int | None = None, steps_per_epoch: int = 1):
        """Makes the folder.

        Args:
          folder: the folder.
          keep_every: the checkpoint of every ``keep_every``-th epoch is kept as well.
          steps_per_epoch: number of steps of an epoch, for checkpoints within one.
        """
        self._folder = folder.absolute()
        self._names = NameFormat(steps_per_epoch)
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
            interval = self._names.number(Position(self._keep_every))
            kept.append(ocp.checkpoint_managers.EveryNSteps(interval))
        options = ocp.CheckpointManagerOptions(
            step_name_format=self._names,
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

    def save(
        self, state: AnyState, history: list[Record], step_metrics: Sequence[Metrics] = ()
    ) -> None:
        """Writes a checkpoint. The arrays have been copied when this returns.

        Args:
          state: the training state.
          history: metrics of each finished epoch.
          step_metrics: metrics of each finished step of the epoch after them.

        Raises:
          OSError: if this one or the one before cannot be written.
        """
        fields = state._asdict()
        steps = steps_to_json(step_metrics)
        about = {
            "epochs": history,
            "checksums": checksums.of_arrays(fields),
            "history_checksum": checksums.of_history(history, steps),
        }
        if steps:
            about |= {"step_metrics": steps, "steps_per_epoch": self._names.steps_per_epoch}
        position = Position(len(history), len(step_metrics))
        self._wait()
        if is_main_process():
            num_bytes = sum(x.nbytes for x in jax.tree.leaves(fields))
            disk.reserve(self._folder, num_bytes + _MARGIN)
        self._newest = self._folder / str(position)
        with self._errors_in_one_line():
            self._manager.save(
                self._names.number(position),
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), history=ocp.args.JsonSave(about)
                ),
            )

    def newest_path(self) -> str:
        """The path of the newest checkpoint, or "none"."""
        self._wait()
        positions = entries(self._folder)
        return str(self._folder / str(positions[-1])) if positions else "none"

    def restore(self, abstract_state_fn: Callable[[int], State]) -> Progress[State] | None:
        """Reads the newest readable checkpoint; newer, damaged ones are renamed, not removed.

        Arguments, result and errors are those of :func:`read_newest`.
        """
        positions = entries(self._folder)
        progress = read_newest(self._folder, abstract_state_fn, self._names.steps_per_epoch)
        if progress is not None:
            # The run will write these again.
            self._rename_damaged([p for p in positions if p > progress.position])
        return progress

    def _rename_damaged(self, positions: Sequence[Position]) -> None:
        if is_main_process():
            for position in positions:
                unreadable = self._folder / f"unreadable-{position}"
                shutil.rmtree(unreadable, ignore_errors=True)
                (self._folder / str(position)).rename(unreadable)
        if positions:
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
