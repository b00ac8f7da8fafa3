"""Checkpoints of a run: the whole training state, written by Orbax in the background.

A checkpoint is a folder named after the number of training steps before it, with two items:
``state``, the arrays, and ``history``, JSON with the metrics of each finished epoch and, within an
epoch, of each of its steps. Orbax writes to a temporary folder and renames it when it is complete,
so that a folder with a number as its name is a whole checkpoint.

* :class:`Checkpoints` writes, and restores the newest one that can be read, in all processes of a
  run together; ``save_schedule.py`` decides when.
* :func:`read_newest`, :func:`kept_epochs`, :func:`read_fields`, :func:`read_history` and
  :func:`progress_of` read only.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, NamedTuple, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.experimental.multihost_utils import process_allgather

from experiments.training.metrics import Record, steps_from_json, steps_to_json
from experiments.training.state import AnyState, Metrics, State

_NUM_KEPT = 2  # the newest, and the one to fall back to
_MAX_LENGTH = 300  # of the reason why a checkpoint cannot be read


class Progress(NamedTuple, Generic[State]):
    """How far a run has come: the end of an epoch, or a step within one.

    Attributes:
      state: weights, statistics, states of optimizer and policy, key.
      history: metrics of each finished epoch.
      step_metrics: metrics of each finished step of the epoch after them. The order of the data
        follows from the two numbers and the seed.
    """

    state: State
    history: list[Record]
    step_metrics: Sequence[Metrics] = ()

    def __str__(self) -> str:
        return _position(len(self.history), len(self.step_metrics))


class Checkpoints:
    """The checkpoints of a run. No other run may write to their folder."""

    def __init__(
        self,
        folder: Path,
        keep_epochs: Iterable[int] = (),
        steps: Callable[[int], int] = int,
    ):
        """Makes the folder, and removes what an interrupted run has left half-written in it.

        Args:
          folder: the folder.
          keep_epochs: numbers of finished epochs whose checkpoints are kept, in addition to the
            newest two.
          steps: ``(epochs) -> number of steps`` of the first so many epochs.
        """
        self._folder = folder.absolute()
        self._steps = steps
        self._earlier_steps = 0  # nonzero if the run began with epochs of another length
        policies = ocp.checkpoint_managers
        kept = [policies.LatestN(_NUM_KEPT), policies.CustomSteps([*map(steps, keep_epochs)])]
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(kept),
            cleanup_tmp_directories=True,
            lightweight_initialize=True,  # opens none of the files, which may be damaged
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._manager.close()  # waits for the last one to be written

    def save(
        self, state: AnyState, history: list[Record], step_metrics: Sequence[Metrics] = ()
    ) -> None:
        """Writes a checkpoint; the arguments are the fields of :class:`Progress`.

        When this returns, the arrays have been copied, so that the next step may reuse them.
        """
        about: dict[str, Any] = {"epochs": history}
        if step_metrics:
            about["steps_per_epoch"] = _length(self._steps, len(history))
            about["step_metrics"] = steps_to_json(step_metrics)
        self._manager.save(
            self._number(history, step_metrics),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), history=ocp.args.JsonSave(about)
            ),
            force=True,
        )

    def restore(self, abstract_state_fn: Callable[[int], State]) -> Progress[State] | None:
        """Reads the newest readable checkpoint, as :func:`read_newest` does.

        Newer ones, which are damaged, are deleted: the run is going to write them again.
        """
        newest = read_newest(self._folder, abstract_state_fn, self._steps)
        if newest is None:
            return None
        number, progress = newest
        for damaged in [n for n in _numbers(self._folder) if n > number]:
            self._manager.delete(damaged)
        self._earlier_steps = number - self._number(progress.history, progress.step_metrics)
        return progress

    def newest_path(self) -> str:
        """The path of the newest checkpoint, or "none"."""
        self._manager.wait_until_finished()
        numbers = _numbers(self._folder)
        return str(self._folder / str(numbers[-1])) if numbers else "none"

    def _number(self, history: Sequence[Record], step_metrics: Sequence[Metrics]) -> int:
        return self._earlier_steps + self._steps(len(history)) + len(step_metrics)


def read_newest(
    folder: Path,
    abstract_state_fn: Callable[[int], State],
    steps: Callable[[int], int] | None = None,
) -> tuple[int, Progress[State]] | None:
    """Reads the newest readable checkpoint, with a warning for each newer, damaged one.

    Args:
      folder: folder of the checkpoints.
      abstract_state_fn: ``(num_epochs) -> state``, shapes, types and shardings of the state in the
        last of that many epochs.
      steps: ``(epochs) -> number of steps`` of the first so many epochs, where training is to go
        on within one.

    Returns:
      Number of training steps and progress; None if there is no checkpoint.

    Raises:
      ValueError: if there are checkpoints but none can be read.
    """
    numbers = _numbers(folder)
    for number in reversed(numbers):
        path, progress = folder.absolute() / str(number), None
        try:
            progress = _read(path, abstract_state_fn, steps)
        except Exception as error:  # whatever Orbax and the libraries below it raise for a file
            reason = " ".join(str(error).split())[:_MAX_LENGTH] or type(error).__name__
            logging.warning("Checkpoint %s cannot be read: %s", path, reason)
        # All processes resume from the same one.
        if process_allgather(np.array(progress is not None)).all():
            assert progress is not None
            return number, progress
    if numbers:
        raise ValueError(
            f"none of the checkpoints in {folder} can be read; remove that folder to start over."
        )
    return None


def kept_epochs(folder: Path) -> list[int]:
    """The epochs after which there is a checkpoint, ascending."""
    return list(_by_epoch(folder))


def read_fields(folder: Path, epoch: int, abstract: dict[str, Any]) -> dict[str, Any]:
    """Reads fields of the state in a checkpoint as NumPy arrays, on any number of devices.

    Args:
      folder: folder of the checkpoints.
      epoch: number of finished epochs.
      abstract: fields of the state to trees of their shapes; other fields are not read.
    """
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), abstract)
    with ocp.PyTreeCheckpointer() as reader:
        return reader.restore(
            _by_epoch(folder)[epoch] / "state",
            args=ocp.args.PyTreeRestore(abstract, restore_args=as_numpy, partial_restore=True),
        )


def read_history(folder: Path, epoch: int) -> list[Record]:
    """Reads the metrics of the epochs up to a checkpoint."""
    return _read_about(_by_epoch(folder)[epoch])["epochs"]


def progress_of(folder: Path, epochs: int) -> str:
    """The progress in the newest checkpoint, such as "3 of 10 epochs and 20 steps"."""
    *_, about = {"epochs": []}, *(about for _, about in _abouts(folder))
    return _position(len(about["epochs"]), len(_step_metrics(about)), f" of {epochs}")


def _read(
    path: Path, abstract_state_fn: Callable[[int], State], steps: Callable[[int], int] | None
) -> Progress[State]:
    about = _read_about(path)
    history, step_metrics = about["epochs"], _step_metrics(about)
    if step_metrics and steps is not None:
        theirs, ours = about["steps_per_epoch"], _length(steps, len(history))
        if theirs != ours:  # batches by tokens, for instance, divided among other devices
            raise ValueError(f"its epochs have {theirs} steps, those of this run {ours}")
    abstract_state = abstract_state_fn(len(history) + bool(step_metrics))
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        state = reader.restore(path / "state", args=ocp.args.StandardRestore(abstract_state))
    return Progress(state, history, step_metrics)


def _read_about(path: Path) -> dict[str, Any]:
    return dict(ocp.JsonCheckpointHandler().restore(path / "history"))


def _step_metrics(about: dict[str, Any]) -> Sequence[Metrics]:
    return steps_from_json(about.get("step_metrics", {}))


def _numbers(folder: Path) -> list[int]:
    """The names of the complete checkpoints, ascending."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(int(name) for name in names if name.isdecimal())


def _by_epoch(folder: Path) -> dict[int, Path]:
    """The checkpoint after each epoch, without those within one."""
    whole = ((path, about) for path, about in _abouts(folder) if not _step_metrics(about))
    return {len(about["epochs"]): path for path, about in whole}


def _abouts(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The path of each checkpoint with its history; damaged ones are left out."""
    for number in _numbers(folder):
        path = folder.absolute() / str(number)
        with suppress(OSError, ValueError):
            yield path, _read_about(path)


def _length(steps: Callable[[int], int], epoch: int) -> int:
    """Number of steps of an epoch, counted from 0."""
    return steps(epoch + 1) - steps(epoch)


def _position(epochs: int, steps: int, of: str = "") -> str:
    plural = "epoch" if epochs == 1 and not of else "epochs"
    return f"{epochs}{of} {plural}" + (f" and {steps} steps" if steps else "")
