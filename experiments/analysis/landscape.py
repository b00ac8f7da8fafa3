"""The loss around the weights, along random directions."""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.analysis.groups import grouped
from experiments.analysis.measure import Measure, Result
from experiments.analysis.runs import Run
from optax_lookbehind import sharpness

_LINE_POINTS = 41


def _add_arguments(parser: Any) -> None:
    parser.add_argument(
        "--extent",
        type=float,
        default=1.0,
        metavar="X",
        help="how far to go in units of the filters' lengths (%(default)s)",
    )
    parser.add_argument(
        "--grid",
        type=int,
        default=15,
        metavar="N",
        help="points on each side of the plane (%(default)s)",
    )


def _compute(run: Run, runs: Sequence[Run], options: argparse.Namespace) -> Result:
    if options.grid < 2:
        raise ValueError(f"grid must be >= 2, got {options.grid}.")
    directions = [sharpness.filter_normalized_direction(key, run.params) for key in range(2)]
    what = (run.functions.loss, run.params, run.batches)
    line = np.linspace(-options.extent, options.extent, _LINE_POINTS)
    result = {"coordinates": line, "line": sharpness.loss_line(*what, directions[0], line)}
    if any(run is group.runs[0] for group in grouped(runs)):
        side = np.linspace(-options.extent, options.extent, options.grid)
        plane = sharpness.loss_plane(*what, *directions, side, side)
        result |= {"plane_coordinates": side, "plane": plane}
    return result


MEASURE = Measure(
    _compute,
    averaged=("line",),
    shared=("coordinates",),
    drawings=(),
    add_arguments=_add_arguments,
)
