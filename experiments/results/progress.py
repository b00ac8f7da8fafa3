"""Progress of work in items: a bar with the remaining time; without a terminal, lines."""

import sys
import time
from typing import Self

from tqdm import tqdm


class Progress:
    """Shows the current item, how much is done, and the remaining time."""

    def __init__(self, total: float, unit: str):
        """Starts the clock.

        Args:
          total: the amount of all items.
          unit: what is counted, in the plural.
        """
        on_terminal = sys.stderr.isatty()
        self._prints_lines = not on_terminal
        self._total, self._unit, self._done = total, unit, 0.0
        self._own = 0.0  # of what is done: by this process, and not found on disk
        self._bar = tqdm(
            total=total,
            unit=f" {unit}",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not on_terminal,
        )
        self._started = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def start(self, name: str) -> None:
        """Shows the item that is worked on from now on."""
        self._name, self._item_started = name, time.perf_counter()
        self._bar.set_description(name)

    def end(self, amount: float = 1.0) -> None:
        """Counts the item that was started last."""
        self._own += amount
        self.count(amount)
        if self._prints_lines:
            now = time.perf_counter()
            left = (now - self._started) / self._own * (self._total - self._done)
            print(
                f"{self._name}: {now - self._item_started:.1f} s; {self._done:,.0f} of "
                f"{self._total:,.0f} {self._unit}, {tqdm.format_interval(left)} left",
                file=sys.stderr,
                flush=True,
            )

    def count(self, amount: float) -> None:
        """Counts an item that was found done: by another process, or before."""
        self._done += amount
        self._bar.update(amount)
