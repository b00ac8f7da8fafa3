"""Training curves, as logged by the runs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.results import figures
from experiments.results.measures.measure import (
    Drawing,
    Group,
    Measure,
    Number,
    Options,
    draw_curves,
    legend,
)
from experiments.results.measures.trained_run import TrainedRun, read_metrics
from experiments.results.table import Table
from experiments.training.metrics import METRICS

_SHOWN = (
    "train_loss",
    "val_accuracy",
    "test_accuracy",
    "train_applied",
    "train_mu",
    "train_sigma",
    "train_threshold",
    "train_alpha",
)
_ZOOMED = ("train_loss", "val_accuracy", "test_accuracy")


def _compute(run: TrainedRun, _: Sequence[TrainedRun]) -> Table:
    """The logged metrics; epochs without an evaluation have none."""
    return Table(
        {"metric": name, "epoch": line["epoch"], "value": line[name]}
        for name in _SHOWN
        for line in read_metrics(run)
        if name in line
    )


def _numbers(_: Options) -> list[Number]:
    evaluated = [
        Number(METRICS[name].heading, name, "epoch", METRICS[name].scale)
        for name in ("val_accuracy", "test_accuracy")
    ]
    return [Number("logged training loss", "train_loss", "epoch"), *evaluated]


def _draw(groups: Sequence[Group], _: Options) -> Figure:
    shown = [name for name in _SHOWN if any(group.table.where(metric=name) for group in groups)]
    figure, axes = figures.panels([""] * len(shown))
    for axis, name in zip(axes, shown, strict=True):
        metric = METRICS[name]
        draw_curves(axis, groups, name, "epoch", metric.scale)
        if name in _ZOOMED:
            having = [group.table for group in groups if group.table.where(metric=name)]
            means = [metric.scale * table.over("epoch", name).summary.mean for table in having]
            figures.zoom(axis, [mean[np.newaxis] for mean in means])
        axis.set(xlabel="epoch", ylabel=metric.heading)
    legend(figure, groups)
    return figure


MEASURE = Measure(
    _compute,
    [
        Drawing(
            "training",
            "Training",
            _draw,
            "The axes of loss and accuracy do not show the range of the first fifth of the "
            "epochs. Policies also show the fraction of sharpness-aware steps; the adaptive "
            "policy, its statistics of the squared gradient norm.",
            lambda _: (
                "As logged by the runs: means over the steps of each epoch, and over the test set "
                "after it."
            ),
        )
    ],
    numbers=_numbers,
)
