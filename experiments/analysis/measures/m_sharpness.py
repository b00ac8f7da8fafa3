"""m-sharpness: the largest increase of the loss within a radius, averaged over minibatches."""

import argparse
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments.analysis import figures
from experiments.analysis.functions import mean_over_batches
from experiments.analysis.measure import Drawing, Entry, GroupResult, Measure, RunResult, numbers
from experiments.analysis.runs import Run
from optax_lookbehind import sharpness

_RADII = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
_ASAM_RADII = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0]


def _add_arguments(parser: Any) -> None:
    for name, default, geometry in (
        ("radii", _RADII, "SAM"),
        ("asam_radii", _ASAM_RADII, "ASAM"),
    ):
        parser.add_argument(
            f"--{name}",
            type=numbers,
            default=default,
            metavar="R,...",
            help=f"radii in the norm of {geometry} ({','.join(map(str, default))})",
        )
    parser.add_argument(
        "--steps",
        type=int,
        default=1,
        metavar="N",
        help="ascent steps of the maximization (%(default)s)",
    )


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> RunResult:
    loss, params, batches = run.functions.loss, run.params, run.batches
    return {
        "loss": mean_over_batches(loss, params, batches),
        "radii": options.radii,
        "sam": sharpness.m_sharpness(loss, params, batches, options.radii, "sam", options.steps),
        "asam_radii": options.asam_radii,
        "asam": sharpness.m_sharpness(
            loss, params, batches, options.asam_radii, "asam", options.steps
        ),
    }


def _entries(options: argparse.Namespace) -> list[Entry]:
    shown = middle_index(options.radii)
    return [
        Entry("training loss at the checkpoint", lambda result: result["loss"]),
        Entry(f"m-sharpness, radius {options.radii[shown]:g}", lambda result: result["sam"][shown]),
    ]


def middle_index(radii: Sequence[float]) -> int:
    """Index of the radius that is shown in the table and the trade-off."""
    return (len(radii) - 1) // 2


def _draw(results: Sequence[GroupResult], options: argparse.Namespace) -> Figure:
    figure, (sam, asam, trade_off) = figures.panels(3)
    for axis, geometry, radii in (sam, "sam", "radii"), (asam, "asam", "asam_radii"):
        for result in results:
            figures.curve(axis, result, result.shared[radii], geometry)
        axis.set(xlabel=f"radius ({geometry.upper()})", ylabel="m-sharpness (increase of the loss)")
        figures.logarithmic(axis, "x")
        if all(min(figures.values(result.mean[geometry])) > 0 for result in results):
            figures.logarithmic(axis, "y")  # at large radii the loss may decrease
    shown = middle_index(options.radii)
    figures.dots(trade_off, results, lambda run: run["sam"][shown], lambda run: run["loss"])
    trade_off.set(
        xlabel=f"m-sharpness, radius {options.radii[shown]:g} (SAM)", ylabel="training loss"
    )
    figures.legend(figure, results)
    return figure


def _method_note(options: argparse.Namespace) -> str:
    steps = "one ascent step" if options.steps == 1 else f"{options.steps} projected ascent steps"
    return f"The maximum over {steps}, separately on each minibatch; means over the minibatches."


MEASURE = Measure(
    _compute,
    averaged=("loss", "sam", "asam"),
    shared=("radii", "asam_radii"),
    drawings=[
        Drawing(
            "m_sharpness",
            "m-sharpness",
            _draw,
            "The largest increase of the loss of a minibatch within a radius; lower is flatter. "
            "Right: m-sharpness against training loss; lower left is better in both.",
            _method_note,
        )
    ],
    entries=_entries,
    add_arguments=_add_arguments,
)
