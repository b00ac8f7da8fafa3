"""Loss on the straight line between two runs: are they in the same basin?"""

import argparse
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.analysis import figures
from experiments.analysis.measure import Drawing, Entry, GroupResult, Measure, RunResult
from experiments.analysis.runs import Run
from experiments.reporting.curves import draw_curve
from optax_lookbehind import sharpness

_COORDINATES = np.linspace(-0.25, 1.25, 31)


def _reference(run: Run, runs: Sequence[Run]) -> Run:
    """The reference run: the first one with the same architecture, data and seed.

    Runs of one seed start at the same weights, and may end in the same basin; other runs rarely
    do. The first run of a seed is compared with the first run of all.
    """
    comparable = [r for r in runs if r.functions is run.functions and r.data is run.data]
    first_of_seed = next(r for r in comparable if r.config.seed == run.config.seed)
    return comparable[0] if first_of_seed is run else first_of_seed


def _applies(run: Run, runs: Sequence[Run]) -> bool:
    return _reference(run, runs) is not run


def _unavailable_reason(runs: Sequence[Run]) -> str | None:
    if any(_applies(run, runs) for run in runs):
        return None
    return "needs two runs of the same architecture on the same data"


def _compute(run: Run, runs: Sequence[Run], _: argparse.Namespace) -> RunResult:
    reference = _reference(run, runs)
    # The running statistics of one run do not fit the other weights on the line.
    losses = sharpness.loss_between(
        run.functions.batch_statistics_loss,
        reference.params,
        run.params,
        run.batches,
        _COORDINATES,
    )
    return {
        "reference": str(reference.path),
        "same_seed": reference.config.seed == run.config.seed,
        "coordinates": _COORDINATES,
        "loss": losses,
        "barrier": _barrier(losses),
    }


def _barrier(losses: jnp.ndarray) -> jnp.ndarray:
    """Largest height of the loss above the chord between the losses of the two runs."""
    inside = (_COORDINATES > -1e-6) & (_COORDINATES < 1 + 1e-6)
    c, loss = _COORDINATES[inside], np.asarray(losses)[inside]
    return np.max(loss - (1 - c) * loss[0] - c * loss[-1])


def _has_same_seed(result: RunResult) -> bool:
    return result["same_seed"]


def _has_another_seed(result: RunResult) -> bool:
    return not result["same_seed"]


_REFERENCES = {"the same seed": _has_same_seed, "another seed": _has_another_seed}


def _entries(_: argparse.Namespace) -> list[Entry]:
    return [
        Entry(f"barrier to a run of {seed}", lambda result: result["barrier"], applies_to)
        for seed, applies_to in _REFERENCES.items()
    ]


def _draw(results: Sequence[GroupResult], options: argparse.Namespace) -> Figure:
    references = {
        seed: applies_to
        for seed, applies_to in _REFERENCES.items()
        if any(applies_to(run) for result in results for run in result.runs)
    }
    figure, axes = figures.panels(len(references))
    for axis, (seed, applies_to) in zip(axes, references.items(), strict=True):
        for result in results:
            losses = [figures.values(run["loss"]) for run in result.runs if applies_to(run)]
            if losses:
                std = np.std(losses, axis=0, ddof=1) if len(losses) > 1 else None
                draw_curve(axis, _COORDINATES, np.mean(losses, axis=0), std, result.style)
        for end in (0, 1):
            axis.axvline(end, color="0.6", linewidth=1, zorder=0)
        axis.set(
            xlabel=f"interpolation coefficient (0: run of {seed}, 1: this run)",
            ylabel="training loss",
        )
    figures.legend(figure, results)
    return figure


MEASURE = Measure(
    _compute,
    averaged=(),  # the figure averages over the runs with the same type of reference
    shared=("coordinates",),
    drawings=[
        Drawing(
            "interpolation",
            "Linear interpolation between two runs",
            _draw,
            "A barrier between 0 and 1 means that the two runs are in different basins. Runs of "
            "one seed start at the same weights.",
            lambda _: (
                "The straight line to each run from the first run of the same seed (to the first "
                "run of a seed: from the first run of all), among runs of the same architecture "
                "and data. BatchNorm uses the statistics of each minibatch."
            ),
        )
    ],
    entries=_entries,
    unavailable_reason=_unavailable_reason,
    applies=_applies,
    depends_on_runs=True,
)
