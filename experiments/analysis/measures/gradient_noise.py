"""Variance of minibatch gradients, and whether their squared norms are normally distributed."""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.analysis import data, figures
from experiments.analysis.measure import Drawing, Entry, GroupResult, Measure, RunResult
from experiments.analysis.runs import Run
from optax_lookbehind import sharpness


def _add_arguments(parser: Any) -> None:
    parser.add_argument(
        "--minibatches",
        type=int,
        default=200,
        metavar="N",
        help="number of random minibatches (%(default)s)",
    )


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> RunResult:
    if options.minibatches < 2:
        raise ValueError(f"minibatches must be >= 2, got {options.minibatches}.")
    batches = data.random_minibatches(run.data.train, run.m, options.minibatches)
    statistics = sharpness.gradient_statistics(
        run.functions.loss, run.params, run.with_statistics(batches)
    )
    norms = np.asarray(statistics.squared_norms)
    std = norms.std(ddof=1)
    qq = sharpness.normal_qq((norms - norms.mean()) / (std if std > 0 else 1))
    return {
        "squared_norms": norms,
        "squared_norm": statistics.squared_norm,
        "variance": statistics.variance,
        "normal_quantiles": qq.theoretical,
        "standardized": qq.ordered,
        "normal_correlation": qq.correlation,
    }


def _entries(_: argparse.Namespace) -> list[Entry]:
    return [
        Entry("gradient variance", lambda result: result["variance"]),
        Entry("squared norm of the gradient", lambda result: result["squared_norm"]),
    ]


def _draw(results: Sequence[GroupResult], options: argparse.Namespace) -> Figure:
    figure, (histogram, qq, decomposition) = figures.panels(3)
    bins = np.linspace(-4, 4, 25)
    for result in results:
        color, line, marker = result.style
        pooled = figures.values([run["standardized"] for run in result.runs])
        density, _ = np.histogram(np.clip(pooled, -4, 4), bins, density=True)
        centers = (bins[1:] + bins[:-1]) / 2
        histogram.plot(centers, density, color=color, linestyle=line, drawstyle="steps-mid")
        quantiles = result.shared["normal_quantiles"]
        qq.plot(quantiles, pooled.mean(axis=0), marker, color=color, ms=3, markerfacecolor="none")
    x = np.linspace(-4, 4, 200)
    histogram.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color="0.6", linewidth=3, zorder=0)
    qq.plot([-3, 3], [-3, 3], color="0.6", linewidth=3, zorder=0)
    histogram.set(xlabel="squared gradient norm, standardized", ylabel="density")
    qq.set(xlabel="quantiles of the normal distribution", ylabel="squared norm, standardized")
    figures.dots(
        decomposition, results, lambda run: run["squared_norm"], lambda run: run["variance"]
    )
    decomposition.set(
        xlabel="squared norm of the mean gradient", ylabel="variance of minibatch gradients"
    )
    figures.logarithmic(decomposition, "x")
    figures.logarithmic(decomposition, "y")
    normal = Line2D([], [], color="0.6", linewidth=3, label="normal distribution")
    figures.legend(figure, results, [normal])
    return figure


def _method_note(options: argparse.Namespace) -> str:
    return (
        f"Gradients on {options.minibatches} random minibatches; squared norms standardized per "
        "run. The histogram pools the seeds of a group, the Q-Q plot shows their mean."
    )


MEASURE = Measure(
    _compute,
    averaged=("squared_norm", "variance", "normal_correlation"),
    shared=("normal_quantiles",),
    drawings=[
        Drawing(
            "gradient_noise",
            "Noise of minibatch gradients",
            _draw,
            "AE-SAM assumes that squared gradient norms are about normally distributed: the "
            "histogram then follows the grey curve, and the points lie on the grey line. Right: "
            "the mean squared norm is the sum of the two coordinates; the variance is the noise.",
            _method_note,
        )
    ],
    entries=_entries,
    add_arguments=_add_arguments,
)
