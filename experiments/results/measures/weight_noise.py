"""Test accuracy under multiplicative noise on the weights."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.results import figures
from experiments.results.measures import data
from experiments.results.measures.measure import (
    Drawing,
    Group,
    Measure,
    Number,
    Option,
    Options,
    draw_curves,
    legend,
)
from experiments.results.measures.trained_run import TrainedRun
from experiments.results.table import Table, series
from optax_lookbehind import sharpness


def _compute(
    run: TrainedRun, _: Sequence[TrainedRun], *, sigmas: Sequence[float], draws: int
) -> Table:
    # BatchNorm's statistics are re-estimated for the noisy weights.
    robustness = sharpness.noise_robustness(
        run.functions.accuracy,
        run.params,
        data.test_batches(run.data.test),
        list(sigmas),
        draws=draws,
        statistics_fn=run.functions.statistics,
        statistics_data=run.batches,
    )
    return Table(
        series("noisy_accuracy", robustness.mean, sigma=sigmas)
        + series("noisy_accuracy_std", robustness.std, sigma=sigmas)
    )


def _numbers(options: Options) -> list[Number]:
    sigma = options["sigmas"][len(options["sigmas"]) // 2]
    heading = f"test accuracy under noise {sigma:g}, %"
    return [Number(heading, "noisy_accuracy", {"sigma": sigma}, scale=100)]


def _draw(groups: Sequence[Group], _: Options) -> Figure:
    figure, (axis,) = figures.panels([""])
    draw_curves(axis, groups, "noisy_accuracy", "sigma", scale=100)
    for group in groups:
        curve = group.table.over("sigma", "noisy_accuracy")
        if len(curve.seeds) == 1:
            over_draws = group.table.over("sigma", "noisy_accuracy_std").values[0]
            summary = curve.summary._replace(std=over_draws)
            figures.curve(axis, curve.x, summary, group.style, scale=100)
    axis.set(xlabel="relative standard deviation of the noise", ylabel="test accuracy, %")
    legend(figure, groups)
    return figure


MEASURE = Measure(
    _compute,
    [
        Drawing(
            "weight_noise",
            "Accuracy under weight noise",
            _draw,
            "Flat minima keep their accuracy under more noise.",
            lambda options: (
                "Every weight is multiplied by 1 + sigma n, with n standard normal; BatchNorm's "
                "statistics are then re-estimated on the training minibatches. Means over "
                f"{options['draws']} draws; for a group of one run, the band is the deviation over "
                "draws."
            ),
        )
    ],
    options={
        "sigmas": Option(
            (0.0, 0.1, 0.2, 0.3, 0.4, 0.5), "relative standard deviations of the noise"
        ),
        "draws": Option(10, "number of noise samples"),
    },
    numbers=_numbers,
)
