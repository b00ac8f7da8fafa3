"""Training curves, as logged by the runs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.results import figures
from experiments.results.measures import measure
from experiments.results.measures.measure import Group, Measure, Number, Options, Panel
from experiments.results.measures.trained_run import TrainedRun, read_metrics
from experiments.results.table import Table
from experiments.training.metrics import METRICS

_SHOWN = (
    "train_loss",
    "val_accuracy",
    "test_accuracy",
    "train_sharpness",
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


def _panels(groups: Sequence[Group], _: Options) -> list[Panel]:
    """A panel for each metric that a group has logged."""
    logged = {name for group in groups for name in group.table.distinct("metric")}
    return [_panel(name) for name in _SHOWN if name in logged]


def _panel(name: str) -> Panel:
    metric = METRICS[name]
    curves = measure.curves(
        name, "epoch", scale=metric.scale, xlabel="epoch", ylabel=metric.heading
    )

    def panel(axis: Axes, groups: Sequence[Group]) -> None:
        curves(axis, groups)
        tables = [group.table for group in groups if name in group.table.distinct("metric")]
        if name in _ZOOMED:
            means = [metric.scale * table.over("epoch", name).summary.mean for table in tables]
            figures.zoom(axis, [mean[np.newaxis] for mean in means])

    return panel


MEASURE = Measure(
    _compute,
    [
        measure.Drawing(
            "training",
            "Training",
            "The axes of loss and accuracy do not show the range of the first fifth of the "
            "epochs. Policies also show the fraction of sharpness-aware steps; the adaptive "
            "policy, its statistics of the squared gradient norm. As logged by the runs: means "
            "over the steps of each epoch, and over the test set after it.",
            _panels,
        )
    ],
    numbers=_numbers,
)
