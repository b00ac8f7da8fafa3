"""Training loss along random directions from the weights."""

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.analysis import figures
from experiments.analysis.groups import group_runs
from experiments.analysis.measure import Drawing, GroupResult, Measure, RunResult
from experiments.analysis.runs import Run
from optax_lookbehind import sharpness

_LINE_POINTS = 41
_LEVELS = 14


def _add_arguments(parser: Any) -> None:
    parser.add_argument(
        "--extent",
        type=float,
        default=1.0,
        metavar="X",
        help="largest distance, in units of the filter norms (%(default)s)",
    )
    parser.add_argument(
        "--grid",
        type=int,
        default=15,
        metavar="N",
        help="points per side of the plane (%(default)s)",
    )


def _compute(run: Run, runs: Sequence[Run], options: argparse.Namespace) -> RunResult:
    if options.grid < 2:
        raise ValueError(f"grid must be >= 2, got {options.grid}.")
    first, second = (sharpness.filter_normalized_direction(key, run.params) for key in range(2))
    subject = (run.functions.loss, run.params, run.batches)
    line = np.linspace(-options.extent, options.extent, _LINE_POINTS)
    result = {"coordinates": line, "line": sharpness.loss_line(*subject, first, line)}
    if any(run is group.runs[0] for group in group_runs(runs)):
        side = np.linspace(-options.extent, options.extent, options.grid)
        plane = sharpness.loss_plane(*subject, first, second, side, side)
        result |= {"plane_coordinates": side, "plane": plane}
    return result


def _draw_line(results: Sequence[GroupResult], options: argparse.Namespace) -> Figure:
    figure, (axis,) = figures.panels(1)
    for result in results:
        figures.curve(axis, result, result.shared["coordinates"], "line")
    axis.set(xlabel="distance along the direction (filter-normalized)", ylabel="training loss")
    figures.logarithmic(axis, "y")
    figures.legend(figure, results)
    return figure


def _draw_planes(results: Sequence[GroupResult], options: argparse.Namespace) -> Figure:
    figure, axes = figures.panels(len(results))
    planes = [figures.values(result.runs[0]["plane"]) for result in results]
    lowest = max(np.nanmin(planes), 1e-6)  # a loss may be 0 in float32
    levels = np.geomspace(lowest, np.nanmax(planes), _LEVELS)
    shades = plt.get_cmap("Greys")(
        np.linspace(0.0, 0.6, _LEVELS - 1)
    )  # light enough for black lines
    for axis, result, plane in zip(axes, results, planes, strict=True):
        side = result.runs[0]["plane_coordinates"]
        # Transposed: the first direction is the horizontal one.
        lines = axis.contour(side, side, plane.T, levels=levels, colors="black", linewidths=0.7)
        filled = axis.contourf(side, side, plane.T, levels=levels, colors=shades)
        axis.clabel(lines, lines.levels[1:8:2], fmt="%.3g", fontsize=8)
        axis.plot(0, 0, "+", color="black", ms=9)
        axis.grid(visible=False)
        axis.set(
            title=textwrap.fill(result.name, 32),
            xlabel="direction 1",
            ylabel="direction 2",
            aspect="equal",
        )
    figure.colorbar(filled, ax=axes, label="training loss", format="%.3g")
    return figure


def _method_note(options: argparse.Namespace) -> str:
    return "Random directions, each filter scaled to the norm of the weights' filter."


MEASURE = Measure(
    _compute,
    averaged=("line",),
    shared=("coordinates",),
    drawings=[
        Drawing(
            "landscape_line",
            "Landscape along a line",
            _draw_line,
            "The loss along a random direction, with the weights at 0. A wide valley is a flat "
            "minimum.",
            _method_note,
        ),
        Drawing(
            "landscape_plane",
            "Landscape over a plane",
            _draw_planes,
            "The loss over a plane spanned by two random directions, with the weights at the "
            "cross. All panels have the same contour levels: wider contours are flatter.",
            lambda options: f"{_method_note(options)} The first run of each group.",
        ),
    ],
    add_arguments=_add_arguments,
    depends_on_runs=True,
)
