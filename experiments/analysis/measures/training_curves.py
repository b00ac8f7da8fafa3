"""Training curves, as logged by the runs."""

import argparse
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.analysis import figures
from experiments.analysis.measure import (
    Drawing,
    Entry,
    GroupResult,
    Measure,
    RunResult,
    common_epochs,
)
from experiments.analysis.runs import Run, read_metrics
from experiments.reporting.curves import Panel, draw_curve, zoom
from experiments.training.metrics import METRICS

PANELS = [
    Panel(name, METRICS[name].heading, METRICS[name].scale)
    for name in (
        "train_loss",
        "val_accuracy",
        "test_accuracy",
        "train_applied",
        "train_mu",
        "train_sigma",
        "train_threshold",
        "train_alpha",
    )
]
_ZOOMED = ("train_loss", "val_accuracy", "test_accuracy")


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> RunResult:
    lines = read_metrics(run)
    logged = [p.metric for p in PANELS if p.metric in lines[-1]]
    # NaN after the epochs without an evaluation.
    curves = {metric: [line.get(metric, np.nan) for line in lines] for metric in logged}
    return {"epochs": [line["epoch"] for line in lines]} | curves


def _draw_evaluated(axis: plt.Axes, result: GroupResult, panel: Panel) -> None:
    """Draws a curve through the epochs that have a value."""
    mean = figures.values(result.mean[panel.metric])
    std = figures.deviation(result, panel.metric)
    has_value = np.isfinite(mean)
    draw_curve(
        axis,
        figures.values(result.shared["epochs"])[has_value],
        panel.scale * mean[has_value],
        None if std is None else panel.scale * std[has_value],
        result.style,
    )


def _entries(_: argparse.Namespace) -> list[Entry]:
    return [
        Entry("logged training loss", lambda result: result["train_loss"][-1]),
        *map(_last_value, ("val_accuracy", "test_accuracy")),
    ]


def _last_value(name: str) -> Entry:
    metric = METRICS[name]
    return Entry(
        metric.heading,
        lambda result: metric.scale * result[name][-1],
        lambda result: name in result,
    )


def _draw(results: Sequence[GroupResult], _: argparse.Namespace) -> Figure:
    panels = [p for p in PANELS if any(p.metric in result.mean for result in results)]
    figure, axes = figures.panels(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        shown = [result for result in results if panel.metric in result.mean]
        for result in shown:
            _draw_evaluated(axis, result, panel)
        if panel.metric in _ZOOMED:
            zoom(axis, [panel.scale * figures.values([r.mean[panel.metric]]) for r in shown])
        axis.set(xlabel="epoch", ylabel=panel.label)
    figures.legend(figure, results)
    return figure


MEASURE = Measure(
    _compute,
    averaged=[panel.metric for panel in PANELS],
    shared=("epochs",),
    drawings=[
        Drawing(
            "training",
            "Training",
            _draw,
            "The axes of loss and accuracy do not show the range of the first fifth of the "
            "epochs. Policies also show the fraction of sharpness-aware steps; the adaptive "
            "policy, its statistics of the squared gradient norm.",
            lambda options: (
                "As logged by the runs: means over the steps of each epoch, and over the test set "
                "after it."
            ),
        )
    ],
    entries=_entries,
    select_common=common_epochs,
)
