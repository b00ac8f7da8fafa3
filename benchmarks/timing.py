"""Interleaved timing, robust to drifts of the machine."""

import math
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

Name = TypeVar("Name")
Run = Callable[[int], None]  # (calls) -> None: makes the calls and waits for the last

_MIN_SECONDS = 0.2  # shorter calls are repeated


def interleaved(runs: Mapping[Name, Run], rounds: int) -> dict[Name, np.ndarray]:
    """Seconds per call of each run, ``[round]``, after a warm-up.

    The runs alternate, A B C A B C, so that a temporary slowdown of the machine affects all of
    them. Compare within a round first, then take the median over rounds.
    """
    calls = {name: _calls(run) for name, run in runs.items()}
    seconds = [
        {name: _seconds(run, calls[name]) / calls[name] for name, run in runs.items()}
        for _ in range(rounds)
    ]
    return {name: np.array([times[name] for times in seconds]) for name in runs}


def _calls(run: Run) -> int:
    run(1)
    return math.ceil(_MIN_SECONDS / _seconds(run, 1))


def _seconds(run: Run, calls: int) -> float:
    start = time.perf_counter()
    run(calls)
    return time.perf_counter() - start
