"""How well the gradients of Lookbehind's inner steps agree, from epoch to epoch."""

import argparse
from collections.abc import Sequence
from functools import cache

import numpy as np
import optax
from absl import logging
from matplotlib.figure import Figure

import optax_lookbehind as ol
from experiments.analysis import figures
from experiments.analysis.measure import (
    Drawing,
    Entry,
    GroupResult,
    Measure,
    Result,
    at_common_epochs,
)
from experiments.analysis.runs import Run
from experiments.methods.table import method
from experiments.reporting.curves import draw_curve
from experiments.training.method_switch import methods_by_epoch
from optax_lookbehind import sharpness

_K = 5  # for methods that take less than two ascent steps
_RHO = 0.05  # for methods that take none


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> Result:
    ball, k, rho, eta = _ascent(run)
    rule = _perturbation(ball, rho, eta)
    epochs, found = [], []
    for epoch in run.kept:
        try:
            at = run.at(epoch)
        except Exception as error:  # one damaged checkpoint is no reason to leave out the others
            logging.warning("Checkpoint %d of %s cannot be read: %s", epoch, run.path, error)
            continue
        found.append(sharpness.alignment(run.functions.loss, at.params, at.batches, rule, k))
        epochs.append(epoch)
    return {
        "ball": ball,
        "rho": rho,
        "k": k,
        "epochs": epochs,
        "alpha": [each.alpha.mean() for each in found],
        "alpha_std_over_minibatches": [each.alpha.std() for each in found],
        "cosines": [each.cosines.mean(axis=0) for each in found],
    }


@cache  # one object for one rule, or each run would compile again
def _perturbation(ball: str, rho: float, eta: float) -> optax.GradientTransformation:
    return ol.asam_perturbation(rho, eta) if ball == "asam" else ol.sam_perturbation(rho)


def _ascent(run: Run) -> tuple[str, int, float, float]:
    """The perturbation rule of the run's method, its number of steps, their rho, and ASAM's eta."""
    chosen = method(methods_by_epoch(run.config)[run.checkpoint.epoch - 1])
    k = chosen.ascent_steps if chosen.ascent_steps > 1 else _K
    return chosen.perturbation, k, chosen.rho or _RHO, chosen.arguments.get("eta", 0.0)


def _draw(results: Sequence[GroupResult], _: argparse.Namespace) -> Figure:
    figure, (alpha, cosines) = figures.panels(2)
    for result in results:
        figures.curve(alpha, result, result.shared["epochs"], "alpha")
        mean, std = figures.values(result.mean["cosines"]), figures.deviation(result, "cosines")
        steps = np.arange(1, result.shared["k"] + 1)
        draw_curve(cosines, steps, mean[-1], None if std is None else std[-1], result.style)
    alpha.set(xlabel="epoch", ylabel=r"$\alpha^*$")
    alpha.xaxis.get_major_locator().set_params(integer=True)
    longest = max(result.shared["k"] for result in results)
    cosines.set(
        xlabel="ascent step i",
        ylabel=r"$\cos(g_{i-1}, g_i)$, last epoch",
        xticks=range(1, longest + 1),
    )
    figures.legend(figure, results)
    return figure


MEASURE = Measure(
    _compute,
    averaged=("alpha", "cosines"),
    shared=("ball", "rho", "k", "epochs"),
    drawings=[
        Drawing(
            "alignment",
            "Agreement of Lookbehind's inner steps",
            _draw,
            "alpha* near 1 and cosines near 1 mean that all ascent steps see the same gradient: "
            "the region that they explore is smooth. Compare alpha* at the same k only.",
            lambda _: (
                "At every checkpoint that is kept, with the run's own ascent (SAM or ASAM, "
                f"rho) and its k, or {_K} where its method takes less than two ascent steps; the "
                "mean over the minibatches."
            ),
        )
    ],
    entries=lambda _: [Entry("alpha*", lambda result: result["alpha"][-1])],
    common=at_common_epochs,
)
