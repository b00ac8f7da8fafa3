"""Times that can be compared although the machine drifts."""

import math
import time
from collections.abc import Callable, Mapping

import numpy as np

Run = Callable[[int], None]  # makes that many calls and waits for the last

_SHORTEST = 0.2  # seconds: what is shorter is called several times


def interleaved(runs: Mapping[str, Run], rounds: int) -> dict[str, np.ndarray]:
    """Seconds per call of each run, ``[round]``, after a warm-up.

    The runs take turns, A B C A B C, so that whatever slows the machine down for a while slows all
    of them. Compare within a round first, and take the median over rounds then.
    """
    calls = {name: _calls(run) for name, run in runs.items()}
    seconds = [
        {name: _seconds(run, calls[name]) / calls[name] for name, run in runs.items()}
        for _ in range(rounds)
    ]
    return {name: np.array([times[name] for times in seconds]) for name in runs}


def _calls(run: Run) -> int:
    run(1)
    return math.ceil(_SHORTEST / _seconds(run, 1))


def _seconds(run: Run, calls: int) -> float:
    start = time.perf_counter()
    run(calls)
    return time.perf_counter() - start
