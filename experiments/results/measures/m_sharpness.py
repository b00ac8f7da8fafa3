"""m-sharpness: the largest increase of the loss within a radius, averaged over minibatches."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.results import figures
from experiments.results.measures.functions import mean_over_batches
from experiments.results.measures.measure import (
    Drawing,
    Group,
    Measure,
    Number,
    Option,
    Options,
    draw_curves,
    draw_points,
    legend,
)
from experiments.results.measures.trained_run import TrainedRun
from experiments.results.table import Table, series
from optax_lookbehind import sharpness

_LOSS = Number("training loss at the checkpoint", "loss")


def _compute(
    run: TrainedRun,
    _: Sequence[TrainedRun],
    *,
    radii: Sequence[float],
    asam_radii: Sequence[float],
    steps: int,
) -> Table:
    subject = (run.functions.loss, run.params, run.batches)
    sam, asam = (
        sharpness.m_sharpness(*subject, list(r), ball, steps)
        for ball, r in (("sam", radii), ("asam", asam_radii))
    )
    return Table(
        series("loss", mean_over_batches(*subject))
        + series("sam_sharpness", sam, radius=radii)
        + series("asam_sharpness", asam, radius=asam_radii)
    )


def _shown(options: Options) -> Number:
    """m-sharpness at the middle one of SAM's radii, for the table and the trade-off."""
    radius = options["radii"][(len(options["radii"]) - 1) // 2]
    return Number(f"m-sharpness, radius {radius:g}", "sam_sharpness", {"radius": radius})


def _draw(groups: Sequence[Group], options: Options) -> Figure:
    figure, axes = figures.panels(["in SAM's ball", "in ASAM's ball", "trade-off"])
    for axis, ball in zip(axes, ("sam", "asam"), strict=False):
        draw_curves(axis, groups, f"{ball}_sharpness", "radius")
        axis.set(xlabel=f"radius ({ball.upper()})", ylabel="m-sharpness (increase of the loss)")
        figures.logarithmic(axis, "x")
        values = [row["value"] for g in groups for row in g.table.where(metric=f"{ball}_sharpness")]
        if min(values) > 0:  # at large radii the loss may decrease
            figures.logarithmic(axis, "y")
    draw_points(axes[2], groups, _shown(options), _LOSS)
    axes[2].set(xlabel=f"{_shown(options).heading} (SAM)", ylabel="training loss")
    legend(figure, groups)
    return figure


def _note(options: Options) -> str:
    steps = options["steps"]
    ascent = "one ascent step" if steps == 1 else f"{steps} projected ascent steps"
    return f"The maximum over {ascent}, separately on each minibatch; means over the minibatches."


MEASURE = Measure(
    _compute,
    [
        Drawing(
            "m_sharpness",
            "m-sharpness",
            _draw,
            "The largest increase of the loss of a minibatch within a radius; lower is flatter. "
            "Right: m-sharpness against training loss; lower left is better in both.",
            _note,
        )
    ],
    options={
        "radii": Option((0.01, 0.02, 0.05, 0.1, 0.2, 0.5), "radii in the norm of SAM"),
        "asam_radii": Option((0.1, 0.2, 0.5, 1.0, 2.0, 5.0), "radii in the norm of ASAM"),
        "steps": Option(1, "ascent steps of the maximization"),
    },
    numbers=lambda options: [_LOSS, _shown(options)],
)
