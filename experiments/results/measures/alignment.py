"""Alignment of the gradients of Lookbehind's inner steps, at every kept checkpoint."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import optax
from absl import logging
from matplotlib.axes import Axes

import optax_lookbehind as ol
from experiments.results.measures import measure
from experiments.results.measures.measure import Group, Measure, Number
from experiments.results.measures.trained_run import TrainedRun
from experiments.results.table import Table, series
from experiments.training.phases import method_of_epoch
from optax_lookbehind import sharpness

_DEFAULT_K = 5  # ascent steps, for methods that take fewer than two
_DEFAULT_RHO = 0.05  # for methods without an ascent


def _compute(run: TrainedRun, _: Sequence[TrainedRun]) -> Table:
    perturbation, k, rho, eta = _ascent(run)
    rule = _make_rule(perturbation, rho, eta)
    rows = series("k", k) + series("rho", rho)
    for epoch in run.kept_epochs:
        try:
            at = run.at_epoch(epoch)
        except Exception as error:  # skip a damaged checkpoint, keep the others
            logging.warning("Checkpoint %d of %s cannot be read: %s", epoch, run.path, error)
            continue
        found = sharpness.alignment(run.functions.loss, at.params, at.batches, rule, k)
        rows += series("alpha", [found.alpha.mean()], epoch=[epoch])
        rows += series("alpha_std_over_minibatches", [found.alpha.std()], epoch=[epoch])
        cosines = np.asarray(found.cosines).mean(axis=0, keepdims=True)
        rows += series("cosine", cosines, epoch=[epoch], step=range(1, k + 1))
    return Table(rows)


@cache  # runs of one rule share the object, and thereby the compiled program
def _make_rule(perturbation: str, rho: float, eta: float) -> optax.GradientTransformation:
    return ol.asam_perturbation(rho, eta) if perturbation == "asam" else ol.sam_perturbation(rho)


def _ascent(run: TrainedRun) -> tuple[str, int, float, float]:
    """The perturbation rule of the run's method, its number of steps, their rho, and ASAM's eta."""
    bound = method_of_epoch(run.config, run.checkpoint.epoch - 1)
    k = bound.ascent_steps if bound.ascent_steps > 1 else _DEFAULT_K
    eta = bound.arguments.get("eta", 0.0)
    return bound.row.perturbation, k, bound.rho or _DEFAULT_RHO, eta


def _cosines(axis: Axes, groups: Sequence[Group]) -> None:
    """Cosines of consecutive gradients at the last checkpoint of each group."""
    for group in groups:
        last = max(group.table.where(metric="cosine").distinct("epoch"))
        measure.curves("cosine", "step", at={"epoch": last})(axis, [group])
    steps = max(row["step"] for group in groups for row in group.table.where(metric="cosine"))
    axis.set(
        xlabel="ascent step i",
        ylabel=r"$\cos(g_{i-1}, g_i)$, last epoch",
        xticks=range(1, steps + 1),
    )


MEASURE = Measure(
    _compute,
    [
        measure.Drawing(
            "alignment",
            "Agreement of Lookbehind's inner steps",
            "alpha* and cosines near 1 mean that all ascent steps have nearly the same gradient: "
            "the loss is smooth in that region. Compare alpha* only at equal k. At every kept "
            "checkpoint, with the ascent rule, rho and k of the run (k = "
            f"{_DEFAULT_K} if its method takes fewer than two ascent steps); means over the "
            "minibatches.",
            lambda groups, options: [
                measure.curves("alpha", "epoch", xlabel="epoch", ylabel=r"$\alpha^*$"),
                _cosines,
            ],
        )
    ],
    numbers=lambda _: [Number("alpha*", "alpha", "epoch")],
)
