"""Training loss along random directions from the weights."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.results import figures
from experiments.results.measures import measure
from experiments.results.measures.measure import Group, Measure, Option
from experiments.results.measures.trained_run import TrainedRun
from experiments.results.table import Table, series
from experiments.training import run_dir
from optax_lookbehind import sharpness

_LINE_POINTS = 41
_LEVELS = 14


def _compute(run: TrainedRun, runs: Sequence[TrainedRun], *, extent: float, grid: int) -> Table:
    if grid < 2:
        raise ValueError(f"grid must be >= 2, got {grid}.")
    first, second = (sharpness.filter_normalized_direction(key, run.params) for key in range(2))
    subject = (run.functions.loss, run.params, run.batches)
    line = np.linspace(-extent, extent, _LINE_POINTS)
    rows = series("line_loss", sharpness.loss_line(*subject, first, line), coordinate=line)
    if run is _first_of_config(run, runs):
        side = np.linspace(-extent, extent, grid)
        plane = sharpness.loss_plane(*subject, first, second, side, side)
        rows += series("plane_loss", plane, x=side, y=side)
    return Table(rows)


def _first_of_config(run: TrainedRun, runs: Sequence[TrainedRun]) -> TrainedRun:
    """The first one of the runs that differ from this one in their seed only."""
    mine = run_dir.identity(run.config) | {"seed": 0}
    return next(r for r in runs if run_dir.identity(r.config) | {"seed": 0} == mine)


def _draw_planes(groups: Sequence[Group]) -> Figure:
    figure, axes = figures.panels([textwrap.fill(group.label, 32) for group in groups])
    planes = [group.table.pivot("x", "y", "plane_loss") for group in groups]
    lowest = max(min(np.nanmin(loss) for *_, loss in planes), 1e-6)  # it may be 0 in float32
    levels = np.geomspace(lowest, max(np.nanmax(loss) for *_, loss in planes), _LEVELS)
    # Light enough for black lines.
    shades = plt.get_cmap("Greys")(np.linspace(0.0, 0.6, _LEVELS - 1))
    for axis, (x, y, loss) in zip(axes, planes, strict=True):
        # Transposed: the first direction is the horizontal one.
        lines = axis.contour(x, y, loss.T, levels=levels, colors="black", linewidths=0.7)
        filled = axis.contourf(x, y, loss.T, levels=levels, colors=shades)
        axis.clabel(lines, lines.levels[1:8:2], fmt="%.3g", fontsize=8)
        axis.plot(0, 0, "+", color="black", ms=9)
        axis.grid(visible=False)
        axis.set(xlabel="direction 1", ylabel="direction 2", aspect="equal")
    figure.colorbar(filled, ax=axes, label="training loss", format="%.3g")
    return figure


_LINE = measure.curves(
    "line_loss",
    "coordinate",
    log="y",
    xlabel="distance along the direction (filter-normalized)",
    ylabel="training loss",
)

MEASURE = Measure(
    _compute,
    [
        measure.Drawing(
            "landscape_line",
            "Landscape along a line",
            "The loss along a random direction, with the weights at 0. A wide valley is a flat "
            "minimum. Each filter of the direction has the norm of the weights' filter.",
            lambda groups, options: [_LINE],
        ),
        measure.Drawing(
            "landscape_plane",
            "Landscape over a plane",
            "The loss over a plane spanned by two random directions, with the weights at the "
            "cross. All panels have the same contour levels: wider contours are flatter. Each "
            "filter of the directions has the norm of the weights' filter. The first run of each "
            "group.",
            draw=_draw_planes,
        ),
    ],
    options={
        "extent": Option(1.0, "largest distance, in units of the filter norms"),
        "grid": Option(15, "points per side of the plane"),
    },
    compares_runs=True,
)
