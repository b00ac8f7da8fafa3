"""How much noise on the weights the accuracy bears."""

import argparse
from collections.abc import Sequence
from typing import Any

from experiments.analysis import data
from experiments.analysis.measure import Column, Measure, Result, numbers
from experiments.analysis.runs import Run
from optax_lookbehind import sharpness

_SIGMAS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def _add_arguments(parser: Any) -> None:
    parser.add_argument(
        "--sigmas",
        type=numbers,
        default=_SIGMAS,
        metavar="S,...",
        help=f"the noise's deviations, relative to each weight ({','.join(map(str, _SIGMAS))})",
    )
    parser.add_argument(
        "--draws", type=int, default=10, metavar="N", help="noisy copies of a model (%(default)s)"
    )


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> Result:
    # With BatchNorm's statistics as the noisy weights have them; none to estimate without it.
    found = sharpness.noise_robustness(
        run.functions.accuracy,
        run.params,
        data.test_batches(run.data.test),
        options.sigmas,
        draws=options.draws,
        statistics_fn=run.functions.statistics,
        statistics_data=run.batches,
    )
    return {
        "sigmas": options.sigmas,
        "accuracy": found.mean,
        "std_over_draws": found.std,
        "test_examples": len(run.data.test.labels),
    }


def _columns(options: argparse.Namespace) -> list[Column]:
    last = len(options.sigmas) - 1
    named = (last + 1) // 2
    return [
        Column(
            f"test accuracy under noise {options.sigmas[named]:g}, %",
            lambda result: _percent(result["accuracy"][named]),
            ".2f",
        )
    ]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


MEASURE = Measure(
    _compute,
    averaged=("accuracy",),
    shared=("sigmas",),
    drawings=(),
    columns=_columns,
    add_arguments=_add_arguments,
)
