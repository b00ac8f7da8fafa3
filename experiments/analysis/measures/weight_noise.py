"""How much noise on the weights the accuracy bears."""

import argparse
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments.analysis import data, figures
from experiments.analysis.measure import Drawing, Entry, GroupResult, Measure, Result, numbers
from experiments.analysis.runs import Run
from experiments.reporting.curves import draw_curve
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


def _entries(options: argparse.Namespace) -> list[Entry]:
    last = len(options.sigmas) - 1
    named = (last + 1) // 2
    return [
        Entry(
            f"test accuracy under noise {options.sigmas[named]:g}, %",
            lambda result: _percent(result["accuracy"][named]),
        )
    ]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _draw(results: Sequence[GroupResult], options: argparse.Namespace) -> Figure:
    figure, (axis,) = figures.panels(1)
    for result in results:
        mean, std = figures.values(result.mean["accuracy"]), figures.deviation(result, "accuracy")
        over_draws = figures.values(result.runs[0]["std_over_draws"])
        band = over_draws if std is None else std
        draw_curve(axis, result.shared["sigmas"], 100 * mean, 100 * band, result.style)
    axis.set(xlabel="noise, relative to each weight", ylabel="test accuracy, %")
    figures.legend(figure, results)
    return figure


def _method(options: argparse.Namespace) -> str:
    return (
        "Each weight times a normal number around 1; BatchNorm's statistics estimated again on the "
        f"training minibatches after the noise; the mean of {options.draws} draws, whose deviation "
        "is the band of a group of one run."
    )


MEASURE = Measure(
    _compute,
    averaged=("accuracy",),
    shared=("sigmas",),
    drawings=[
        Drawing(
            "noise",
            "Accuracy under noise on the weights",
            _draw,
            "Flat minima keep their accuracy under more noise.",
            _method,
        )
    ],
    entries=_entries,
    add_arguments=_add_arguments,
)
