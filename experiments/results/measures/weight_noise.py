"""Test accuracy under multiplicative noise on the weights."""

from collections.abc import Sequence

from experiments.results.measures import data, measure
from experiments.results.measures.measure import Measure, Number, Option, Options
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


MEASURE = Measure(
    _compute,
    [
        measure.Drawing(
            "weight_noise",
            "Accuracy under weight noise",
            "Flat minima keep their accuracy under more noise. Every weight is multiplied by "
            "1 + sigma n, with n standard normal; BatchNorm's statistics are then re-estimated on "
            "the training minibatches. Means over {draws} draws.",
            lambda groups, options: [
                measure.curves(
                    "noisy_accuracy",
                    "sigma",
                    scale=100,
                    xlabel="relative standard deviation of the noise",
                    ylabel="test accuracy, %",
                )
            ],
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
