"""How well the gradients of Lookbehind's inner steps agree, from epoch to epoch."""

import argparse
from collections.abc import Sequence
from functools import cache

import optax
from absl import logging

import optax_lookbehind as ol
from experiments.analysis.measure import Column, Measure, Result, at_common_epochs
from experiments.analysis.runs import Run
from experiments.methods import method
from experiments.switch import methods_by_epoch
from optax_lookbehind import sharpness

_K = 5  # for methods that take less than two ascent steps


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> Result:
    asam, k, rho = _ascent(run)
    rule = _perturbation(asam, rho, run.config.eta)
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
        "ball": "asam" if asam else "sam",
        "rho": rho,
        "k": k,
        "epochs": epochs,
        "alpha": [each.alpha.mean() for each in found],
        "alpha_std_over_minibatches": [each.alpha.std() for each in found],
        "cosines": [each.cosines.mean(axis=0) for each in found],
    }


@cache  # one object for one rule, or each run would compile again
def _perturbation(asam: bool, rho: float, eta: float) -> optax.GradientTransformation:
    return ol.asam_perturbation(rho, eta) if asam else ol.sam_perturbation(rho)


def _ascent(run: Run) -> tuple[bool, int, float]:
    """Whether the run's method climbs in ASAM's ball, in how many steps, and of what length."""
    config = run.config
    how = method(methods_by_epoch(config)[run.checkpoint.epoch - 1])
    asam = how.title.endswith("ASAM")
    several = how.ascent_gradients(config) > 1
    rho = config.rho if config.rho is not None else 0.5 if asam else 0.05
    length = rho / config.k if several and config.rho_over_k else rho
    return asam, config.k if several else _K, length


MEASURE = Measure(
    _compute,
    averaged=("alpha", "cosines"),
    shared=("ball", "rho", "k", "epochs"),
    drawings=(),
    columns=lambda _: [Column("alpha*", lambda result: result["alpha"][-1])],
    common=at_common_epochs,
)
