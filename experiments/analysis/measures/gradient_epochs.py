"""Gradients of minibatches at every kept checkpoint: norms, variance, distribution (AE-SAM)."""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.analysis import data, figures
from experiments.analysis.measure import (
    Drawing,
    Entry,
    GroupResult,
    Measure,
    RunResult,
    common_epochs,
)
from experiments.analysis.runs import Run
from optax_lookbehind import sharpness

_PANELS = {
    "variance": r"$\mathrm{Var}(g_B)$",
    "expected_squared_norm": r"$E\,|g_B|^2$",
    "squared_norm": r"$|\nabla L(D)|^2$",
}


def _add_arguments(parser: Any) -> None:
    parser.add_argument(
        "--sampled_minibatches",
        type=int,
        default=0,
        metavar="N",
        help="random minibatches at each checkpoint for the distribution of norms (%(default)s)",
    )


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> RunResult:
    """AE-SAM, equation (3): the variance and both sides of its decomposition.

    The minibatches divide the training examples, so that the mean of their gradients is the full
    gradient.
    """
    found = [
        _statistics(run.at_epoch(epoch), options.sampled_minibatches) for epoch in run.kept_epochs
    ]
    return {"epochs": run.kept_epochs} | {key: [each[key] for each in found] for key in found[0]}


def _statistics(run: Run, samples: int) -> RunResult:
    found = sharpness.gradient_statistics(run.functions.loss, run.params, run.batches)
    result = {
        "expected_squared_norm": np.mean(found.squared_norms),
        "variance": found.variance,
        "squared_norm": found.squared_norm,
    }
    if samples:
        minibatches = data.random_minibatches(run.data.train, run.m, samples)
        drawn = sharpness.gradient_statistics(
            run.functions.loss, run.params, run.with_statistics(minibatches)
        )
        result["sampled_squared_norms"] = drawn.squared_norms
    return result


def _entries(_: argparse.Namespace) -> list[Entry]:
    return [Entry("squared norm of the full gradient", lambda result: result["squared_norm"][-1])]


def _draw(results: Sequence[GroupResult], _: argparse.Namespace) -> Figure:
    figure, axes = figures.panels(len(_PANELS))
    for axis, (key, label) in zip(axes, _PANELS.items(), strict=True):
        for result in results:
            figures.curve(axis, result, result.shared["epochs"], key)
        axis.set(xlabel="epoch", ylabel=label)
        figures.logarithmic(axis, "y")
    figures.legend(figure, results)
    return figure


MEASURE = Measure(
    _compute,
    averaged=tuple(_PANELS),
    shared=("epochs",),
    drawings=[
        Drawing(
            "gradient_epochs",
            "Gradients during training",
            _draw,
            "The mean squared norm of a minibatch gradient is the sum of the variance and of the "
            "squared norm of the full gradient.",
            lambda _: (
                "At every checkpoint that is kept, on training examples in fixed minibatches that "
                "do not overlap."
            ),
        )
    ],
    entries=_entries,
    add_arguments=_add_arguments,
    select_common=common_epochs,
)
