"""What a run tells while it trains: a progress bar, lines of JSON, TensorBoard event files."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import jax
from ml_collections import ConfigDict
from tensorboardX import SummaryWriter
from tqdm import tqdm

from experiments.training import run_dir as files
from experiments.training.state import Metrics

_EVERY = 20  # steps between two looks at the device


class Silence:
    """What the processes do that write no logs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def start_epoch(self, epoch: int, title: str) -> None:
        """An epoch begins."""

    def watch(self, steps: Sequence[Metrics]) -> None:
        """A step has been handed to the device."""

    def end_epoch(self, metrics: dict[str, float]) -> None:
        """An epoch's metrics are there."""


class Logs(Silence):
    """Writes into the run's folder and draws the bar."""

    def __init__(self, workdir: Path, config: ConfigDict, history: list[dict], steps: int):
        """Opens the files.

        Args:
          workdir: the folder.
          config: the run's.
          history: the metrics of the epochs done before.
          steps: number of steps of an epoch.
        """
        done = len(history)
        self._workdir, self._epochs, self._batch = workdir, config.epochs, config.batch_size
        # What was logged after the checkpoint will be logged again.
        files.write_lines(workdir / files.METRICS, history)
        timing = workdir / files.TIMING
        files.write_lines(timing, files.read_lines(timing)[:done] if timing.exists() else [])
        # Files are named after the second; the suffix keeps those of a quick restart apart.
        self._events = SummaryWriter(
            str(workdir / files.EVENTS), purge_step=done + 1, filename_suffix=f".{done}"
        )
        images = steps * config.batch_size
        self._bar = tqdm(
            total=config.epochs * images,
            initial=done * images,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
        )
        self._images, self._epoch, self._started = images, done, time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        self._events.close()

    def start_epoch(self, epoch: int, title: str) -> None:
        """Names the epoch, from 1, and its method at the bar."""
        self._epoch, self._started = epoch, time.perf_counter()
        self._bar.set_description(f"{title}, epoch {epoch}/{self._epochs}", refresh=False)

    def watch(self, steps: Sequence[Metrics]) -> None:
        """Moves the bar now and then.

        It waits for a step some way back, which lets the device go on and keeps the host from
        running ahead without bound.
        """
        if len(steps) % _EVERY == 0 and len(steps) > _EVERY:
            seen = jax.device_get(steps[-_EVERY])
            self._bar.set_postfix(
                loss=f"{seen['loss']:.3f}", accuracy=f"{seen['accuracy']:.1%}", refresh=False
            )
            self._bar.update(_EVERY * self._batch)

    def end_epoch(self, metrics: dict[str, float]) -> None:
        """Writes the epoch's metrics and how long it took."""
        seconds = time.perf_counter() - self._started
        timing = {"seconds": round(seconds, 3), "images_per_second": round(self._images / seconds)}
        files.append_line(self._workdir / files.METRICS, metrics)
        files.append_line(self._workdir / files.TIMING, {"epoch": self._epoch} | timing)
        for name, value in (metrics | timing).items():
            if name != "epoch":
                self._events.add_scalar(name, value, self._epoch)
        self._events.flush()
        self._bar.set_postfix(
            loss=f"{metrics['train_loss']:.3f}",
            accuracy=f"{metrics['train_accuracy']:.1%}",
            test=f"{metrics['test_accuracy']:.2%}",
            refresh=False,
        )
        self._bar.update(self._epoch * self._images - self._bar.n)
