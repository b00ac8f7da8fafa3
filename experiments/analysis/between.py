"""Whether two runs ended in the same basin: the loss on the straight line between them."""

import argparse
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from experiments.analysis.measure import Column, Measure, Result
from experiments.analysis.runs import Run
from optax_lookbehind import sharpness

_COORDINATES = np.linspace(-0.25, 1.25, 31)


def _start(run: Run, runs: Sequence[Run]) -> Run:
    """The first run of the same architecture and data, where the line begins."""
    return next(r for r in runs if r.functions is run.functions and r.data is run.data)


def _applies(run: Run, runs: Sequence[Run]) -> bool:
    return _start(run, runs) is not run


def _why_not(runs: Sequence[Run]) -> str | None:
    if any(_applies(run, runs) for run in runs):
        return None
    return "it needs two runs of the same architecture on the same data"


def _compute(run: Run, runs: Sequence[Run], _: argparse.Namespace) -> Result:
    start = _start(run, runs)
    # Running statistics fit neither the points between nor the other end.
    losses = sharpness.loss_between(
        run.functions.loss_of_batch, start.params, run.params, run.batches, _COORDINATES
    )
    return {
        "start": str(start.path),
        "coordinates": _COORDINATES,
        "loss": losses,
        "barrier": _barrier(losses),
    }


def _barrier(losses: jnp.ndarray) -> jnp.ndarray:
    """How far the loss rises above the straight line between the losses of the two ends."""
    inside = (_COORDINATES > -1e-6) & (_COORDINATES < 1 + 1e-6)
    c, between = _COORDINATES[inside], np.asarray(losses)[inside]
    return np.max(between - (1 - c) * between[0] - c * between[-1])


def _columns(_: argparse.Namespace) -> list[Column]:
    return [Column("barrier to the first run", lambda result: result["barrier"])]


MEASURE = Measure(
    _compute,
    averaged=("loss", "barrier"),
    shared=("coordinates",),
    drawings=(),
    columns=_columns,
    why_not=_why_not,
    applies=_applies,
)
