"""Training logs: progress bar, JSON lines, TensorBoard."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
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

    def start_epoch(
        self, epoch: int, title: str, compiles: bool = False, first_step: int = 0
    ) -> None:
        """Called before an epoch.

        Args:
          epoch: its number, from 1.
          title: its method.
          compiles: whether a step is compiled.
          first_step: number of its steps that an earlier run has taken.
        """

    def log_first_step(self) -> None:
        """Called when the first step of the epoch has been compiled and started."""

    def log_steps(self, num_steps: int, metrics: Mapping[str, float]) -> None:
        """Called after ``num_steps`` more steps, with the metrics of the last one."""

    def end_steps(self) -> None:
        """Called after the last step of the epoch, before the evaluation."""

    def end_epoch(self, record: Record) -> None:
        """Called after an epoch, with its metrics."""


class NullLogger:
    """Does nothing. The logger of all but the main process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def start_epoch(
        self, epoch: int, title: str, compiles: bool = False, first_step: int = 0
    ) -> None:
        """Does nothing."""

    def log_first_step(self) -> None:
        """Does nothing."""

    def log_steps(self, num_steps: int, metrics: Mapping[str, float]) -> None:
        """Does nothing."""

    def end_steps(self) -> None:
        """Does nothing."""

    def end_epoch(self, record: Record) -> None:
        """Does nothing."""


class RunLogger(NullLogger):
    """Writes into the folder of a run, and shows progress: a bar, or lines if not on a terminal."""

    def __init__(
        self,
        workdir: Path,
        history: Sequence[Record],
        *,
        epochs: int,
        steps: Callable[[int], int],
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
          steps: ``(epochs) -> number of steps`` of the first so many epochs.
          examples_per_step: number of examples of a step.
          score: name of the metric to show next to the loss.
          unit: name of the examples.
          show_progress: whether to show a progress bar or lines.
        """
        done = len(history)
        self._workdir, self._epochs, self._unit = workdir, epochs, unit
        scores = (f"{split}_{score}" for split in ("train", "val", "test"))
        self._shown = tuple(dict.fromkeys(["train_loss", *scores]))  # once if the score is the loss
        self._title = ""
        self._step_examples = examples_per_step
        self._steps = steps
        # What was logged after the checkpoint will be logged again.
        run_dir.write_lines(workdir / run_dir.METRICS, history)
        timing = workdir / run_dir.TIMING
        run_dir.write_lines(timing, run_dir.read_lines(timing)[:done] if timing.exists() else [])
        # Files are named after the second; the suffix keeps those of a quick restart apart.
        self._events = SummaryWriter(
            str(workdir / run_dir.EVENTS), purge_step=done + 1, filename_suffix=f".{done}"
        )
        on_terminal = sys.stderr.isatty()
        self._prints_lines = show_progress and not on_terminal
        self._bar = tqdm(
            total=self._examples(epochs),
            initial=self._examples(done),
            unit=f" {unit}",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not (show_progress and on_terminal),
        )
        self._epoch = done

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        self._events.close()

    def start_epoch(
        self, epoch: int, title: str, compiles: bool = False, first_step: int = 0
    ) -> None:
        """Shows that the step is being compiled."""
        self._epoch, self._title, self._started = epoch, title, time.perf_counter()
        self._done_examples = first_step * self._step_examples
        self._bar.update(self._examples(epoch - 1) + self._done_examples - self._bar.n)
        if compiles:
            self._bar.set_description(f"{title}, compiling")
            self._print(f"{title}: compiling")

    def log_first_step(self) -> None:
        """Shows the epoch and its method at the progress bar."""
        self._first_step = time.perf_counter()
        self._bar.set_description(self._heading(), refresh=False)

    def log_steps(self, num_steps: int, metrics: Mapping[str, float]) -> None:
        """Updates the progress bar."""
        self._show({f"train_{name}": value for name, value in metrics.items()})
        self._bar.update(num_steps * self._step_examples)

    def end_steps(self) -> None:
        """Records when the training steps ended."""
        self._steps_ended = time.perf_counter()

    def end_epoch(self, record: Record) -> None:
        """Writes the metrics of the epoch and its duration."""
        seconds = time.perf_counter() - self._started
        timing = {"seconds": round(seconds, 3), f"{self._unit}_per_second": self._rate()}
        run_dir.append_line(self._workdir / run_dir.METRICS, record)
        run_dir.append_line(self._workdir / run_dir.TIMING, {"epoch": self._epoch} | timing)
        for name, value in (record | timing).items():
            if name != "epoch":
                self._events.add_scalar(name, value, self._epoch)
        self._events.flush()
        self._show(record)
        self._bar.update(self._examples(self._epoch) - self._bar.n)
        shown = [f"{METRICS[k].label} {METRICS[k].text(record[k])}" for k in self._in(record)]
        rate = f"{self._rate():,} {self._unit}/s"
        self._print(", ".join([self._heading(), *shown, f"{seconds:.1f} s", rate]))

    def _examples(self, epochs: int) -> int:
        return self._steps(epochs) * self._step_examples

    def _rate(self) -> int:
        """Examples per second of training alone: without compilation and evaluation."""
        seconds = self._steps_ended - self._first_step
        examples = self._examples(self._epoch) - self._examples(self._epoch - 1)
        examples -= self._done_examples + self._step_examples
        if not examples:  # a single step: its compilation counts, too
            seconds, examples = self._steps_ended - self._started, self._step_examples
        return round(examples / seconds)

    def _heading(self) -> str:
        return f"{self._title}, epoch {self._epoch}/{self._epochs}"

    def _in(self, record: Mapping[str, float]) -> list[str]:
        return [name for name in self._shown if name in record]

    def _print(self, line: str) -> None:
        if self._prints_lines:
            print(line, file=sys.stderr, flush=True)

    def _show(self, record: Mapping[str, float]) -> None:
        self._bar.set_postfix(
            {name: METRICS[name].text(record[name]) for name in self._in(record)}, refresh=False
        )
