"""Loss on the straight line between two runs: are they in the same basin?"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.results.measures import measure
from experiments.results.measures.measure import Group, Measure, Number, Options, Panel
from experiments.results.measures.trained_run import TrainedRun
from experiments.results.table import Table, series
from optax_lookbehind import sharpness

_COORDINATES = np.linspace(-0.25, 1.25, 31)
_REFERENCES = {True: "the same seed", False: "another seed"}


def _reference(run: TrainedRun, runs: Sequence[TrainedRun]) -> TrainedRun:
    """The reference run: the first one with the same architecture, data and seed.

    Runs of one seed start at the same weights, and may end in the same basin; other runs rarely
    do. The first run of a seed is compared with the first run of all.
    """
    comparable = [r for r in runs if r.functions is run.functions and r.data is run.data]
    first_of_seed = next(r for r in comparable if r.config.seed == run.config.seed)
    return comparable[0] if first_of_seed is run else first_of_seed


def _applies(run: TrainedRun, runs: Sequence[TrainedRun]) -> bool:
    return _reference(run, runs) is not run


def _unavailable(runs: Sequence[TrainedRun]) -> str | None:
    if any(_applies(run, runs) for run in runs):
        return None
    return "needs two runs of the same architecture on the same data"


def _compute(run: TrainedRun, runs: Sequence[TrainedRun]) -> Table:
    reference = _reference(run, runs)
    # The running statistics of one run do not fit the other weights on the line.
    losses = np.asarray(
        sharpness.loss_between(
            run.functions.batch_statistics_loss,
            reference.params,
            run.params,
            run.batches,
            _COORDINATES,
        )
    )
    same_seed = reference.config.seed == run.config.seed
    found = series("loss_between", losses, coordinate=_COORDINATES)
    return Table(found + series("barrier", _barrier(losses))).with_columns(same_seed=same_seed)


def _barrier(losses: np.ndarray) -> float:
    """Largest height of the loss above the chord between the losses of the two runs."""
    inside = (_COORDINATES > -1e-6) & (_COORDINATES < 1 + 1e-6)
    c, loss = _COORDINATES[inside], losses[inside]
    return np.max(loss - (1 - c) * loss[0] - c * loss[-1])


def _from_a_run_of(same_seed: bool) -> Panel:
    curves = measure.curves(
        "loss_between",
        "coordinate",
        at={"same_seed": same_seed},
        xlabel=f"interpolation coefficient (0: run of {_REFERENCES[same_seed]}, 1: this run)",
        ylabel="training loss",
    )

    def panel(axis: Axes, groups: Sequence[Group]) -> None:
        curves(axis, groups)
        for end in (0, 1):
            axis.axvline(end, color="0.6", linewidth=1, zorder=0)

    return panel


def _panels(groups: Sequence[Group], _: Options) -> list[Panel]:
    """A panel for each kind of reference that a run has."""
    known = {same for group in groups for same in group.table.distinct("same_seed")}
    return [_from_a_run_of(same_seed) for same_seed in _REFERENCES if same_seed in known]


MEASURE = Measure(
    _compute,
    [
        measure.Drawing(
            "interpolation",
            "Linear interpolation between two runs",
            "A barrier between 0 and 1 means that the two runs are in different basins. Runs of "
            "one seed start at the same weights. The straight line to each run from the first run "
            "of the same seed (to the first run of a seed: from the first run of all), among runs "
            "of the same architecture and data. BatchNorm uses the statistics of each minibatch.",
            _panels,
        )
    ],
    numbers=lambda _: [
        Number(f"barrier to a run of {seed}", "barrier", {"same_seed": same})
        for same, seed in _REFERENCES.items()
    ],
    unavailable=_unavailable,
    applies=_applies,
    compares_runs=True,
)
