"""Training curves, as logged by the runs."""

import argparse
from collections.abc import Sequence

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
from experiments.reporting.curves import Panel, zoom

PANELS = [
    Panel("train_loss", "training loss"),
    Panel("test_accuracy", "test accuracy, %", scale=100),
    Panel("train_applied", "sharpness-aware steps, %", scale=100),
    Panel("train_mu", "running mean of $|g|^2$"),
    Panel("train_sigma", "running deviation of $|g|^2$"),
    Panel("train_threshold", "threshold for $|g|^2$"),
    Panel("train_alpha", "Lookbehind's alpha"),
]


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> RunResult:
    lines = read_metrics(run)
    logged = [p.metric for p in PANELS if all(p.metric in line for line in lines)]
    curves = {metric: [line[metric] for line in lines] for metric in logged}
    return {"epochs": [line["epoch"] for line in lines]} | curves


def _entries(_: argparse.Namespace) -> list[Entry]:
    return [
        Entry("logged training loss", lambda result: result["train_loss"][-1]),
        Entry("test accuracy, %", lambda result: 100 * result["test_accuracy"][-1]),
    ]


def _draw(results: Sequence[GroupResult], _: argparse.Namespace) -> Figure:
    panels = [p for p in PANELS if any(p.metric in result.mean for result in results)]
    figure, axes = figures.panels(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        shown = [result for result in results if panel.metric in result.mean]
        for result in shown:
            figures.curve(axis, result, result.shared["epochs"], panel.metric, panel.scale)
        if panel.metric in ("train_loss", "test_accuracy"):
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
