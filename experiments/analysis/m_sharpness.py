"""How much the loss of a minibatch rises within a radius, and at what price in loss."""

import argparse
from collections.abc import Sequence
from typing import Any

from experiments.analysis.functions import mean_over
from experiments.analysis.measure import Column, Measure, Result, numbers
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


def _columns(options: argparse.Namespace) -> list[Column]:
    named = middle(options.radii)
    return [
        Column("training loss at the checkpoint", lambda result: result["loss"]),
        Column(
            f"m-sharpness, radius {options.radii[named]:g}", lambda result: result["sam"][named]
        ),
    ]


def middle(radii: Sequence[float]) -> int:
    """Which radius stands for all where there is room for one."""
    return (len(radii) - 1) // 2


MEASURE = Measure(
    _compute,
    averaged=("loss", "sam", "asam"),
    shared=("radii", "asam_radii"),
    drawings=(),
    columns=_columns,
    add_arguments=_add_arguments,
)
