"""How much the loss of a minibatch rises within a radius, and at what price in loss."""

import argparse
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments.analysis import figures
from experiments.analysis.functions import mean_over
from experiments.analysis.measure import Drawing, Entry, GroupResult, Measure, Result, numbers
from experiments.analysis.runs import Run
from optax_lookbehind import sharpness

_RADII = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
_ASAM_RADII = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0]


def _add_arguments(parser: Any) -> None:
    for name, default, ball in ("radii", _RADII, "SAM"), ("asam_radii", _ASAM_RADII, "ASAM"):
        parser.add_argument(
            f"--{name}",
            type=numbers,
            default=default,
            metavar="R,...",
            help=f"radii of {ball}'s ball ({','.join(map(str, default))})",
        )
    parser.add_argument(
        "--steps",
        type=int,
        default=1,
        metavar="N",
        help="ascent steps to the maximum (%(default)s)",
    )


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> Result:
    loss, params, batches = run.functions.loss, run.params, run.batches
    return {
        "loss": mean_over(loss, params, batches),
        "radii": options.radii,
        "sam": sharpness.m_sharpness(loss, params, batches, options.radii, "sam", options.steps),
        "asam_radii": options.asam_radii,
        "asam": sharpness.m_sharpness(
            loss, params, batches, options.asam_radii, "asam", options.steps
        ),
    }


def _entries(options: argparse.Namespace) -> list[Entry]:
    named = middle(options.radii)
    return [
        Entry("training loss at the checkpoint", lambda result: result["loss"]),
        Entry(f"m-sharpness, radius {options.radii[named]:g}", lambda result: result["sam"][named]),
    ]


def middle(radii: Sequence[float]) -> int:
    """Which radius stands for all where there is room for one."""
    return (len(radii) - 1) // 2


def _draw(results: Sequence[GroupResult], options: argparse.Namespace) -> Figure:
    figure, (sam, asam, trade_off) = figures.panels(3)
    for axis, ball, radii in (sam, "sam", "radii"), (asam, "asam", "asam_radii"):
        for result in results:
            figures.curve(axis, result, result.shared[radii], ball)
        axis.set(xlabel=f"radius of {ball.upper()}'s ball", ylabel="m-sharpness, rise of the loss")
        figures.logarithmic(axis, "x")
        if all(min(figures.values(result.mean[ball])) > 0 for result in results):
            figures.logarithmic(axis, "y")  # the loss can also fall, further out
    named = middle(options.radii)
    figures.dots(trade_off, results, lambda run: run["sam"][named], lambda run: run["loss"])
    trade_off.set(
        xlabel=f"m-sharpness within {options.radii[named]:g}, SAM's ball", ylabel="training loss"
    )
    figures.legend(figure, results)
    return figure


def _method(options: argparse.Namespace) -> str:
    steps = "one ascent step" if options.steps == 1 else f"{options.steps} projected ascent steps"
    return f"The maximum is that of {steps} on each minibatch on its own; the mean over them."


MEASURE = Measure(
    _compute,
    averaged=("loss", "sam", "asam"),
    shared=("radii", "asam_radii"),
    drawings=[
        Drawing(
            "m_sharpness",
            "m-sharpness",
            _draw,
            "How much the loss of a minibatch rises at most within a radius: lower is flatter. On "
            "the right the trade-off with the loss: to the lower left is better in both.",
            _method,
        )
    ],
    entries=_entries,
    add_arguments=_add_arguments,
)
