"""How noisy the gradients of minibatches are, and whether their squared norms are normal."""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.analysis import data
from experiments.analysis.measure import Column, Measure, Result
from experiments.analysis.runs import Run
from optax_lookbehind import sharpness


def _add_arguments(parser: Any) -> None:
    parser.add_argument(
        "--minibatches",
        type=int,
        default=200,
        metavar="N",
        help="random minibatches to take gradients on (%(default)s)",
    )


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> Result:
    if options.minibatches < 2:
        raise ValueError(f"minibatches must be >= 2, got {options.minibatches}.")
    batches = data.random_minibatches(run.data.train, run.m, options.minibatches)
    found = sharpness.gradient_statistics(
        run.functions.loss, run.params, run.with_statistics(batches)
    )
    norms = np.asarray(found.squared_norms)
    spread = norms.std(ddof=1)
    qq = sharpness.normal_qq((norms - norms.mean()) / (spread if spread > 0 else 1))
    return {
        "squared_norms": norms,
        "squared_norm": found.squared_norm,
        "variance": found.variance,
        "normal_quantiles": qq.theoretical,
        "standardized": qq.ordered,
        "normal_correlation": qq.correlation,
    }


def _columns(_: argparse.Namespace) -> list[Column]:
    return [
        Column("gradient variance", lambda result: result["variance"]),
        Column("squared norm of the gradient", lambda result: result["squared_norm"]),
    ]


MEASURE = Measure(
    _compute,
    averaged=("squared_norm", "variance", "normal_correlation"),
    shared=("normal_quantiles",),
    drawings=(),
    columns=_columns,
    add_arguments=_add_arguments,
)
