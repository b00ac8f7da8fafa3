"""Progress of work in items: a bar with the time that is left; without a terminal, lines."""

import sys
import time
from typing import Self

from tqdm import tqdm


class Progress:
    """Shows which item is worked on, how many are done, and how long the others will take."""

    def __init__(self, total: int, unit: str):
        """Starts the clock.

        Args:
          total: the number of items.
          unit: the name of the items, in the plural.
        """
        on_terminal = sys.stderr.isatty()
        self._prints_lines = not on_terminal
        self._total, self._unit, self._done = total, unit, 0
        self._bar = tqdm(total=total, unit=f" {unit}", dynamic_ncols=True, disable=not on_terminal)
        self._started = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def start(self, name: str) -> None:
        """Shows the item that is worked on from now on."""
        self._name, self._item_started = name, time.perf_counter()
        self._bar.set_description(name)

    def end(self) -> None:
        """Counts the item that was started last."""
        self._done += 1
        self._bar.update()
        if self._prints_lines:
            now = time.perf_counter()
            left = (now - self._started) / self._done * (self._total - self._done)
            print(
                f"{self._name}: {now - self._item_started:.1f} s; {self._done} of {self._total} "
                f"{self._unit}, {tqdm.format_interval(left)} left",
                file=sys.stderr,
                flush=True,
            )
