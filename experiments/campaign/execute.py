"""Doing the runs that are missing, next to other processes that do the same."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from experiments.campaign.progress import GradientProgress
from experiments.campaign.runs import Run, write_diverged
from experiments.storage.lock import try_lock
from experiments.training.metrics import NotFiniteError

Main = Callable[..., None]  # (config, workdir) -> None, exits the process on an error

_WAIT = 1.0  # seconds between two looks at runs that other processes do


def execute(runs: Sequence[Run], mains: Mapping[str, Main]) -> None:
    """Does all runs that are not done, and waits for those that other processes are doing.

    Args:
      runs: the runs.
      mains: module of a command -> its main function.
    """
    with GradientProgress(runs) as progress:

        def train(run: Run) -> None:
            progress.start(run)
            _train(run, mains[run.command.module])

        work_off(runs, lambda run: run.is_done, train)


def work_off(
    items: Iterable[Any], is_done: Callable[[Any], bool], work: Callable[[Any], None]
) -> None:
    """Calls ``work`` for each item that is not done, holding the lock on its folder ``item.path``.

    Returns when all items are done, by this process or others.
    """
    pending = [item for item in items if not is_done(item)]
    while pending:
        claimed_by_others = []
        for item in pending:
            with try_lock(item.path) as mine:
                if not mine:
                    claimed_by_others.append(item)
                elif not is_done(item):  # another process may have done it meanwhile
                    work(item)
        pending = [item for item in claimed_by_others if not is_done(item)]
        if pending:
            time.sleep(_WAIT)


def _train(run: Run, main: Main) -> None:
    """Trains; a run whose loss is not finite is marked as diverged, other errors are raised."""
    try:
        main(_locked(run.config), run.path)
    except SystemExit as error:
        if not _is_divergence(error):
            raise
        write_diverged(run, str(error))


def _locked(config: ConfigDict) -> ConfigDict:
    return config.copy_and_resolve_references().lock()


def _is_divergence(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, NotFiniteError):
            return True
        error = error.__cause__ or error.__context__
    return False
