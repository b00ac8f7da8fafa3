"""Training logs: progress bar, JSON lines, TensorBoard."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from tensorboardX import SummaryWriter
from tqdm import tqdm

from experiments.training import run_dir
from experiments.training.metrics import METRICS, Record


class Logger(Protocol):
    """Receives the progress of a training run."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def start_epoch(self, epoch: int, title: str) -> None:
        """An epoch begins: its number, from 1, and the title of its method."""

    def log_steps(self, num_steps: int, metrics: Mapping[str, float]) -> None:
        """``num_steps`` more steps are done; the metrics are those of the last one of them."""

    def end_epoch(self, record: Record) -> None:
        """An epoch is done, with these metrics."""


class NullLogger:
    """Does nothing. The logger of all but the main process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def start_epoch(self, epoch: int, title: str) -> None:
        """Does nothing."""

    def log_steps(self, num_steps: int, metrics: Mapping[str, float]) -> None:
        """Does nothing."""

    def end_epoch(self, record: Record) -> None:
        """Does nothing."""


class RunLogger(NullLogger):
    """Writes into the folder of a run and draws the progress bar."""

    def __init__(
        self,
        workdir: Path,
        history: Sequence[Record],
        *,
        epochs: int,
        steps_per_epoch: int,
        examples_per_step: int,
        score: str,
        unit: str = "images",
        show_progress: bool = True,
    ):
        """Opens the files; lines and events after ``history`` are discarded.

        Args:
          workdir: the folder.
          history: metrics of the epochs before.
          epochs: number of epochs of the whole run.
          steps_per_epoch: number of steps of an epoch.
          examples_per_step: number of examples of a step.
          score: name of the metric to show next to the loss.
          unit: name of the examples.
          show_progress: whether to draw a progress bar.
        """
        done = len(history)
        self._workdir, self._epochs, self._unit = workdir, epochs, unit
        self._shown = ("train_loss", *(f"{split}_{score}" for split in ("train", "val", "test")))
        self._step_examples = examples_per_step
        self._epoch_examples = steps_per_epoch * examples_per_step
        # What was logged after the checkpoint will be logged again.
        run_dir.write_lines(workdir / run_dir.METRICS, history)
        timing = workdir / run_dir.TIMING
        run_dir.write_lines(timing, run_dir.read_lines(timing)[:done] if timing.exists() else [])
        # Files are named after the second; the suffix keeps those of a quick restart apart.
        self._events = SummaryWriter(
            str(workdir / run_dir.EVENTS), purge_step=done + 1, filename_suffix=f".{done}"
        )
        self._bar = tqdm(
            total=epochs * self._epoch_examples,
            initial=done * self._epoch_examples,
            unit=f" {unit}",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not show_progress,
        )
        self._epoch, self._started = done, time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        self._events.close()

    def start_epoch(self, epoch: int, title: str) -> None:
        """Shows the epoch and its method at the progress bar."""
        self._epoch, self._started = epoch, time.perf_counter()
        self._bar.set_description(f"{title}, epoch {epoch}/{self._epochs}", refresh=False)

    def log_steps(self, num_steps: int, metrics: Mapping[str, float]) -> None:
        """Updates the progress bar."""
        self._show({f"train_{name}": value for name, value in metrics.items()})
        self._bar.update(num_steps * self._step_examples)

    def end_epoch(self, record: Record) -> None:
        """Writes the metrics of the epoch and its duration."""
        seconds = time.perf_counter() - self._started
        rate = round(self._epoch_examples / seconds)
        timing = {"seconds": round(seconds, 3), f"{self._unit}_per_second": rate}
        run_dir.append_line(self._workdir / run_dir.METRICS, record)
        run_dir.append_line(self._workdir / run_dir.TIMING, {"epoch": self._epoch} | timing)
        for name, value in (record | timing).items():
            if name != "epoch":
                self._events.add_scalar(name, value, self._epoch)
        self._events.flush()
        self._show(record)
        self._bar.update(self._epoch * self._epoch_examples - self._bar.n)

    def _show(self, record: Mapping[str, float]) -> None:
        self._bar.set_postfix(
            {name: METRICS[name].text(record[name]) for name in self._shown if name in record},
            refresh=False,
        )
