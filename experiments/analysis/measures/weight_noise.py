"""Test accuracy under multiplicative noise on the weights."""

import argparse
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments.analysis import data, figures
from experiments.analysis.measure import Drawing, Entry, GroupResult, Measure, RunResult, numbers
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
        help=f"relative standard deviations of the noise ({','.join(map(str, _SIGMAS))})",
    )
    parser.add_argument(
        "--draws", type=int, default=10, metavar="N", help="number of noise samples (%(default)s)"
    )


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> RunResult:
    # BatchNorm's statistics are re-estimated for the noisy weights.
    robustness = sharpness.noise_robustness(
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
        "accuracy": robustness.mean,
        "std_over_draws": robustness.std,
        "test_examples": len(run.data.test.labels),
    }


def _entries(options: argparse.Namespace) -> list[Entry]:
    shown = len(options.sigmas) // 2
    return [
        Entry(
            f"test accuracy under noise {options.sigmas[shown]:g}, %",
            lambda result: _percent(result["accuracy"][shown]),
        )
    ]


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _draw(results: Sequence[GroupResult], options: argparse.Namespace) -> Figure:
    figure, (axis,) = figures.panels(1)
    for result in results:
        mean, std = figures.values(result.mean["accuracy"]), figures.deviation(result, "accuracy")
        over_draws = figures.values(result.runs[0]["std_over_draws"])
        band = over_draws if std is None else std
        draw_curve(axis, result.shared["sigmas"], 100 * mean, 100 * band, result.style)
    axis.set(xlabel="relative standard deviation of the noise", ylabel="test accuracy, %")
    figures.legend(figure, results)
    return figure


def _method_note(options: argparse.Namespace) -> str:
    return (
        "Every weight is multiplied by 1 + sigma n, with n standard normal; BatchNorm's statistics "
        "are then re-estimated on the training minibatches. Means over "
        f"{options.draws} draws; for a group of one run, the band is the deviation over draws."
    )


MEASURE = Measure(
    _compute,
    averaged=("accuracy",),
    shared=("sigmas",),
    drawings=[
        Drawing(
            "weight_noise",
            "Accuracy under weight noise",
            _draw,
            "Flat minima keep their accuracy under more noise.",
            _method_note,
        )
    ],
    entries=_entries,
    add_arguments=_add_arguments,
)
