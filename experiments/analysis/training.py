"""How the training went, from what the runs logged."""

import argparse
from collections.abc import Sequence

from experiments.analysis.measure import Column, Measure, Result, at_common_epochs
from experiments.analysis.runs import Run, read_metrics
from experiments.plotting import Panel

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


def _columns(_: argparse.Namespace) -> list[Column]:
    return [
        Column("logged training loss", lambda result: result["train_loss"][-1], ".4f"),
        Column("test accuracy, %", lambda result: 100 * result["test_accuracy"][-1], ".2f"),
    ]


MEASURE = Measure(
    _compute,
    averaged=[panel.metric for panel in PANELS],
    shared=("epochs",),
    drawings=(),
    columns=_columns,
    common=at_common_epochs,
)
