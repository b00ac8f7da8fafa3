"""Progress in gradients of all runs, including those that other processes do."""

import sys
import threading
from collections.abc import Sequence
from typing import Self

from tqdm import tqdm

from experiments.campaign.cost import gradients
from experiments.campaign.runs import Run

_PERIOD = 1.0  # seconds between two looks at the runs' logs


class GradientProgress:
    """A bar; without a terminal, a line for each run.

    A thread reads the logs of the runs, whose training loop needs no changes.
    """

    def __init__(self, runs: Sequence[Run]):
        self._per_epoch = {run.path: gradients(run.config) / run.config.epochs for run in runs}
        self._open = list(runs)
        self._finished = 0.0
        self._stop = threading.Event()
        self._total = round(sum(gradients(run.config) for run in runs))
        self._latest = self._count()
        on_terminal = sys.stderr.isatty()
        self._prints_lines = not on_terminal
        self._bar = tqdm(
            total=self._total,
            initial=self._latest,
            unit=" gradients",
            unit_scale=True,
            dynamic_ncols=True,
            smoothing=0.02,  # runs differ in speed
            disable=not on_terminal,
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
        """Shows the run that begins."""
        self._bar.set_description(run.path.name, refresh=True)
        if self._prints_lines:
            percent = 100 * self._latest / max(1, self._total)
            print(
                f"{run.path.name} begins; {percent:.0f}% of {self._total:,} gradients are done",
                file=sys.stderr,
                flush=True,
            )

    def _watch(self) -> None:
        while not self._stop.wait(_PERIOD):
            self._update()

    def _update(self) -> None:
        self._latest = self._count()
        self._bar.update(self._latest - self._bar.n)

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
