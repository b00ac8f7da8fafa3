"""Whether two runs ended in the same basin: the loss on the straight line between them."""

import argparse
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.analysis import figures
from experiments.analysis.measure import Drawing, Entry, GroupResult, Measure, Result
from experiments.analysis.runs import Run
from experiments.reporting.curves import draw_curve
from optax_lookbehind import sharpness

_COORDINATES = np.linspace(-0.25, 1.25, 31)


def _start(run: Run, runs: Sequence[Run]) -> Run:
    """Where the line begins: the first run of the same architecture, data and seed.

    Weights that began at the same place may well end in the same basin, others hardly do; a run
    that is the first of its seed is held against the first of all.
    """
    alike = [r for r in runs if r.functions is run.functions and r.data is run.data]
    of_seed = next(r for r in alike if r.config.seed == run.config.seed)
    return alike[0] if of_seed is run else of_seed


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
        "same_seed": start.config.seed == run.config.seed,
        "coordinates": _COORDINATES,
        "loss": losses,
        "barrier": _barrier(losses),
    }


def _barrier(losses: jnp.ndarray) -> jnp.ndarray:
    """How far the loss rises above the straight line between the losses of the two ends."""
    inside = (_COORDINATES > -1e-6) & (_COORDINATES < 1 + 1e-6)
    c, between = _COORDINATES[inside], np.asarray(losses)[inside]
    return np.max(between - (1 - c) * between[0] - c * between[-1])


def _from_same_seed(result: Result) -> bool:
    return result["same_seed"]


def _from_another_seed(result: Result) -> bool:
    return not result["same_seed"]


_KINDS = {"the same seed": _from_same_seed, "another seed": _from_another_seed}


def _entries(_: argparse.Namespace) -> list[Entry]:
    return [
        Entry(f"barrier from a run of {seed}", lambda result: result["barrier"], of)
        for seed, of in _KINDS.items()
    ]


def _draw(results: Sequence[GroupResult], options: argparse.Namespace) -> Figure:
    kinds = {s: of for s, of in _KINDS.items() if any(of(run) for r in results for run in r.runs)}
    figure, axes = figures.panels(len(kinds))
    for axis, (seed, of) in zip(axes, kinds.items(), strict=True):
        for result in results:
            losses = [figures.values(run["loss"]) for run in result.runs if of(run)]
            if losses:
                std = np.std(losses, axis=0, ddof=1) if len(losses) > 1 else None
                draw_curve(axis, _COORDINATES, np.mean(losses, axis=0), std, result.style)
        for end in (0, 1):
            axis.axvline(end, color="0.6", linewidth=1, zorder=0)
        axis.set(xlabel=f"way from a run of {seed}, at 0, to this, at 1", ylabel="training loss")
    figures.legend(figure, results)
    return figure


MEASURE = Measure(
    _compute,
    averaged=(),  # over the runs of one kind only
    shared=("coordinates",),
    drawings=[
        Drawing(
            "between",
            "The way between two runs",
            _draw,
            "A barrier between the ends means that the two runs found different basins. Runs of "
            "one seed began at the same weights.",
            lambda _: (
                "The straight line to each run from the first one of the same seed, or to "
                "that one from the first of all, among runs of the same architecture and data; "
                "BatchNorm with the statistics of each minibatch."
            ),
        )
    ],
    entries=_entries,
    why_not=_why_not,
    applies=_applies,
)
