"""Gradients of minibatches at every kept checkpoint: norms, variance, distribution (AE-SAM)."""

from collections.abc import Sequence

import numpy as np

from experiments.results.measures import data, measure
from experiments.results.measures.measure import Measure, Number, Option
from experiments.results.measures.trained_run import TrainedRun
from experiments.results.table import Table, concatenate, series
from optax_lookbehind import sharpness

_LABELS = {
    "variance": r"$\mathrm{Var}(g_B)$",
    "expected_squared_norm": r"$E\,|g_B|^2$",
    "squared_norm": r"$|\nabla L(D)|^2$",
}


def _compute(run: TrainedRun, _: Sequence[TrainedRun], *, sampled_minibatches: int) -> Table:
    """AE-SAM, equation (3): the variance and both sides of its decomposition.

    The minibatches divide the training examples, so that the mean of their gradients is the full
    gradient.
    """
    return concatenate(
        _at_checkpoint(run.at_epoch(epoch), sampled_minibatches).with_columns(epoch=epoch)
        for epoch in run.kept_epochs
    )


def _at_checkpoint(run: TrainedRun, samples: int) -> Table:
    loss, params = run.functions.loss, run.params
    found = sharpness.gradient_statistics(loss, params, run.batches)
    rows = (
        series("variance", found.variance)
        + series("expected_squared_norm", np.mean(found.squared_norms))
        + series("squared_norm", found.squared_norm)
    )
    if samples:
        minibatches = data.random_minibatches(run.data.train, run.m, samples)
        drawn = sharpness.gradient_statistics(loss, params, run.with_statistics(minibatches))
        rows += series("sampled_squared_norm", drawn.squared_norms, sample=range(samples))
    return Table(rows)


MEASURE = Measure(
    _compute,
    [
        measure.Drawing(
            "gradient_epochs",
            "Gradients during training",
            "The mean squared norm of a minibatch gradient is the sum of the variance and of the "
            "squared norm of the full gradient. At every checkpoint that is kept, on training "
            "examples in fixed minibatches that do not overlap.",
            lambda groups, options: [
                measure.curves(metric, "epoch", log="y", xlabel="epoch", ylabel=label)
                for metric, label in _LABELS.items()
            ],
        )
    ],
    options={
        "sampled_minibatches": Option(
            0, "random minibatches at each checkpoint for the distribution of norms"
        )
    },
    numbers=lambda _: [Number("squared norm of the full gradient", "squared_norm", "epoch")],
)
