"""A progress bar over the gradients of all runs, including those that other processes do."""

import threading
from collections.abc import Sequence
from typing import Self

from tqdm import tqdm

from experiments.campaign.cost import gradients
from experiments.campaign.runs import Run

_PERIOD = 1.0  # seconds between two looks at the runs' logs


class GradientProgress:
    """The bar. A thread reads the logs of the runs, whose training loop needs no changes."""

    def __init__(self, runs: Sequence[Run]):
        self._per_epoch = {run.path: gradients(run.config) / run.config.epochs for run in runs}
        self._open = list(runs)
        self._finished = 0.0
        self._stop = threading.Event()
        done = self._count()
        self._bar = tqdm(
            total=round(sum(gradients(run.config) for run in runs)),
            initial=done,
            unit=" gradients",
            unit_scale=True,
            dynamic_ncols=True,
            smoothing=0.02,  # runs differ in speed
        )
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._update()
        self._bar.close()

    def start(self, run: Run) -> None:
        """Names the run at the bar."""
        self._bar.set_description(run.path.name, refresh=True)

    def _watch(self) -> None:
        while not self._stop.wait(_PERIOD):
            self._update()

    def _update(self) -> None:
        self._bar.update(self._count() - self._bar.n)

    def _count(self) -> int:
        """Gradients that the logs account for. Finished runs are not read again."""
        total, still_open = 0.0, []
        for run in self._open:
            epochs = run.config.epochs if run.diverged else run.epochs_done
            if epochs >= run.config.epochs:
                self._finished += self._per_epoch[run.path] * run.config.epochs
            else:
                still_open.append(run)
                total += self._per_epoch[run.path] * epochs
        self._open = still_open
        return round(self._finished + total)
