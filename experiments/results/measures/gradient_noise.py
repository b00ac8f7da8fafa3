"""Variance of minibatch gradients, and whether their squared norms are normally distributed."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.results.measures import data, measure
from experiments.results.measures.measure import Group, Measure, Number, Option
from experiments.results.measures.trained_run import TrainedRun
from experiments.results.table import Table, series
from optax_lookbehind import sharpness

_VARIANCE = Number("gradient variance", "variance")
_SQUARED_NORM = Number("squared norm of the gradient", "squared_norm")


def _compute(run: TrainedRun, _: Sequence[TrainedRun], *, minibatches: int) -> Table:
    if minibatches < 2:
        raise ValueError(f"minibatches must be >= 2, got {minibatches}.")
    batches = data.random_minibatches(run.data.train, run.m, minibatches)
    found = sharpness.gradient_statistics(
        run.functions.loss, run.params, run.with_statistics(batches)
    )
    norms = np.asarray(found.squared_norms)
    std = norms.std(ddof=1)
    qq = sharpness.normal_qq((norms - norms.mean()) / (std if std > 0 else 1))
    return Table(
        series("minibatch_squared_norm", norms, sample=range(minibatches))
        + series("squared_norm", found.squared_norm)
        + series("variance", found.variance)
        + series("standardized_norm", qq.ordered, quantile=qq.theoretical)
        + series("normal_correlation", qq.correlation)
    )


def _histogram(axis: Axes, groups: Sequence[Group]) -> None:
    bins = np.linspace(-4, 4, 25)
    for group in groups:
        values = group.table.over("quantile", "standardized_norm").values
        density, _ = np.histogram(np.clip(values, -4, 4), bins, density=True)
        centers, (color, line, _) = (bins[1:] + bins[:-1]) / 2, group.style
        axis.plot(centers, density, color=color, linestyle=line, drawstyle="steps-mid")
    x = np.linspace(-4, 4, 200)
    axis.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color="0.6", linewidth=3, zorder=0)
    axis.set(xlabel="squared gradient norm, standardized", ylabel="density")


def _quantiles(axis: Axes, groups: Sequence[Group]) -> None:
    for group in groups:
        curve, (color, _, marker) = group.table.over("quantile", "standardized_norm"), group.style
        axis.plot(curve.x, curve.summary.mean, marker, color=color, ms=3, markerfacecolor="none")
    axis.plot([-3, 3], [-3, 3], color="0.6", linewidth=3, zorder=0)
    axis.set(xlabel="quantiles of the normal distribution", ylabel="squared norm, standardized")


_DECOMPOSITION = measure.points(
    _SQUARED_NORM,
    _VARIANCE,
    log="xy",
    xlabel="squared norm of the mean gradient",
    ylabel="variance of minibatch gradients",
)

MEASURE = Measure(
    _compute,
    [
        measure.Drawing(
            "gradient_noise",
            "Noise of minibatch gradients",
            "AE-SAM assumes that squared gradient norms are about normally distributed: the "
            "histogram then follows the grey curve, and the points lie on the grey line. Right: "
            "the mean squared norm is the sum of the two coordinates; the variance is the noise. "
            "Gradients on {minibatches} random minibatches; squared norms standardized per run. "
            "The histogram pools the seeds of a group, the Q-Q plot shows their mean.",
            lambda groups, options: [_histogram, _quantiles, _DECOMPOSITION],
        )
    ],
    options={"minibatches": Option(200, "number of random minibatches")},
    numbers=lambda _: [_VARIANCE, _SQUARED_NORM],
)
