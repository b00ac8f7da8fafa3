"""How the training went, from what the runs logged."""

import argparse
from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.analysis import figures
from experiments.analysis.measure import (
    Drawing,
    Entry,
    GroupResult,
    Measure,
    Result,
    at_common_epochs,
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


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> Result:
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
    there = [p for p in PANELS if any(p.metric in result.mean for result in results)]
    figure, axes = figures.panels(len(there))
    for axis, panel in zip(axes, there, strict=True):
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
            "The axes of loss and accuracy leave out what only the first fifth of the epochs "
            "reaches. Policies show on which share of the steps they were sharpness-aware, and the "
            "adaptive one also the statistics of the squared gradient norm that it decides on.",
            lambda options: (
                "As the runs logged it: means over the steps of an epoch, and over "
                "the test set after it."
            ),
        )
    ],
    entries=_entries,
    common=at_common_epochs,
)
