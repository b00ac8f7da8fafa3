"""Doing what is missing, runs and measures, next to other processes that do the same."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import jax

from experiments import train
from experiments.results.progress import Progress
from experiments.results.runs import DIVERGED, Run
from experiments.storage.lock import try_lock
from experiments.training import run_dir
from experiments.training.metrics import NotFiniteError

_WAIT = 1.0  # seconds between two looks at items that other processes work on


class _Work(Protocol):
    @property
    def path(self) -> Path: ...

    @property
    def is_done(self) -> bool: ...

    @property
    def size(self) -> float: ...


T = TypeVar("T", bound=_Work)


def execute(runs: Sequence[Run]) -> None:
    """Executes every unfinished run; waits for runs locked by other processes."""
    process_pending(runs, _train, "gradients")


def process_pending(items: Iterable[T], work: Callable[[T], None], unit: str) -> None:
    """Calls ``work`` for each unfinished item while holding the lock on its folder.

    Returns when all items are done, by this process or others.

    Args:
      items: the items; ``path`` is the folder to lock, ``size`` their share of the progress.
      work: does one of them.
      unit: unit of the sizes.
    """
    pending = [item for item in items if not item.is_done]
    with Progress(sum(item.size for item in pending), unit) as progress:
        while pending:
            left = []
            for item in pending:
                with try_lock(item.path) as mine:
                    if not mine:
                        left.append(item)
                    elif item.is_done:  # another process has done it meanwhile
                        progress.count(item.size)
                    else:
                        progress.start(item.path.name)
                        work(item)
                        progress.end(item.size)
            pending = left
            if pending:
                time.sleep(_WAIT)


def share_compiled_programs(root: Path) -> None:
    """Keeps compiled programs in the folder of the runs: many differ in their seed only."""
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str((root / ".compiled").absolute()))
        # Also the small programs that make initial weights, of which there are many.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _train(run: Run) -> None:
    """Trains; a run whose loss is not finite is marked as diverged, other errors are raised."""
    try:
        train.run(run.config.copy_and_resolve_references().lock(), run.path, show_progress=False)
    except NotFiniteError as error:
        run_dir.write_lines(run.path / DIVERGED, [{"message": str(error)}])
