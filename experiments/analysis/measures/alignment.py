"""Alignment of the gradients of Lookbehind's inner steps, at every kept checkpoint."""

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
    RunResult,
    common_epochs,
)
from experiments.analysis.runs import Run
from experiments.reporting.curves import draw_curve
from experiments.training.phases import method_of_epoch
from optax_lookbehind import sharpness

_DEFAULT_K = 5  # ascent steps, for methods that take fewer than two
_DEFAULT_RHO = 0.05  # for methods without an ascent


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> RunResult:
    perturbation, k, rho, eta = _ascent(run)
    rule = _make_rule(perturbation, rho, eta)
    epochs, results = [], []
    for epoch in run.kept_epochs:
        try:
            checkpoint = run.at_epoch(epoch)
        except Exception as error:  # skip a damaged checkpoint, keep the others
            logging.warning("Checkpoint %d of %s cannot be read: %s", epoch, run.path, error)
            continue
        results.append(
            sharpness.alignment(run.functions.loss, checkpoint.params, checkpoint.batches, rule, k)
        )
        epochs.append(epoch)
    return {
        "perturbation": perturbation,
        "rho": rho,
        "k": k,
        "epochs": epochs,
        "alpha": [each.alpha.mean() for each in results],
        "alpha_std_over_minibatches": [each.alpha.std() for each in results],
        "cosines": [each.cosines.mean(axis=0) for each in results],
    }


@cache  # runs of one rule share the object, and thereby the compiled program
def _make_rule(perturbation: str, rho: float, eta: float) -> optax.GradientTransformation:
    return ol.asam_perturbation(rho, eta) if perturbation == "asam" else ol.sam_perturbation(rho)


def _ascent(run: Run) -> tuple[str, int, float, float]:
    """The perturbation rule of the run's method, its number of steps, their rho, and ASAM's eta."""
    spec = method_of_epoch(run.config, run.checkpoint.epoch - 1)
    k = spec.ascent_steps if spec.ascent_steps > 1 else _DEFAULT_K
    return spec.row.perturbation, k, spec.rho or _DEFAULT_RHO, spec.arguments.get("eta", 0.0)


def _draw(results: Sequence[GroupResult], _: argparse.Namespace) -> Figure:
    figure, (alpha, cosines) = figures.panels(2)
    for result in results:
        figures.curve(alpha, result, result.shared["epochs"], "alpha")
        mean, std = figures.values(result.mean["cosines"]), figures.deviation(result, "cosines")
        steps = np.arange(1, result.shared["k"] + 1)
        draw_curve(cosines, steps, mean[-1], None if std is None else std[-1], result.style)
    alpha.set(xlabel="epoch", ylabel=r"$\alpha^*$")
    alpha.xaxis.get_major_locator().set_params(integer=True)
    max_k = max(result.shared["k"] for result in results)
    cosines.set(
        xlabel="ascent step i",
        ylabel=r"$\cos(g_{i-1}, g_i)$, last epoch",
        xticks=range(1, max_k + 1),
    )
    figures.legend(figure, results)
    return figure


MEASURE = Measure(
    _compute,
    averaged=("alpha", "cosines"),
    shared=("perturbation", "rho", "k", "epochs"),
    drawings=[
        Drawing(
            "alignment",
            "Agreement of Lookbehind's inner steps",
            _draw,
            "alpha* and cosines near 1 mean that all ascent steps have nearly the same gradient: "
            "the loss is smooth in that region. Compare alpha* only at equal k.",
            lambda _: (
                "At every kept checkpoint, with the ascent rule, rho and k of the run (k = "
                f"{_DEFAULT_K} if its method takes fewer than two ascent steps); means over the "
                "minibatches."
            ),
        )
    ],
    entries=lambda _: [Entry("alpha*", lambda result: result["alpha"][-1])],
    select_common=common_epochs,
)
