"""m-sharpness: the largest increase of the loss within a radius, averaged over minibatches."""

from collections.abc import Sequence
from typing import Any

from experiments.results.measures import measure
from experiments.results.measures.functions import mean_over_batches
from experiments.results.measures.measure import Group, Measure, Number, Option, Options, Panel
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


def _panels(_: Sequence[Group], options: Options) -> list[Panel]:
    # At large radii the loss may decrease, and the axis then is linear.
    over_radius: dict[str, Any] = {
        "x": "radius",
        "log": "xy",
        "ylabel": "m-sharpness (increase of the loss)",
    }
    return [
        measure.curves("sam_sharpness", xlabel="radius (SAM)", **over_radius),
        measure.curves("asam_sharpness", xlabel="radius (ASAM)", **over_radius),
        measure.points(
            _shown(options), _LOSS, xlabel=f"{_shown(options).heading} (SAM)", ylabel=_LOSS.heading
        ),
    ]


MEASURE = Measure(
    _compute,
    [
        measure.Drawing(
            "m_sharpness",
            "m-sharpness",
            "The largest increase of the loss of a minibatch within a radius; lower is flatter. "
            "Right: m-sharpness against training loss; lower left is better in both. The maximum "
            "is over {steps} (projected) ascent steps, separately on each minibatch; means over "
            "the minibatches.",
            _panels,
        )
    ],
    options={
        "radii": Option((0.01, 0.02, 0.05, 0.1, 0.2, 0.5), "radii in the norm of SAM"),
        "asam_radii": Option((0.1, 0.2, 0.5, 1.0, 2.0, 5.0), "radii in the norm of ASAM"),
        "steps": Option(1, "ascent steps of the maximization"),
    },
    numbers=lambda options: [_LOSS, _shown(options)],
)
