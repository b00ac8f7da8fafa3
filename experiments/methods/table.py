"""The table of methods: a new method is one row.

A method is named with its arguments in one string, ``lookbehind_sam:k=5,rho=0.05``; arguments that
are not given have the defaults of the table, most of them the papers' or of the authors' code.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import optax_lookbehind as ol
from experiments.configs.lookup import unknown
from experiments.methods import masks, spec
from experiments.methods.method import Arguments, BoundMethod, Method


def _mean_gradient(
    axis_name: str | None = None, sync_perturbation: bool = True
) -> optax.GradientTransformation:
    """The plain gradient, averaged over ``axis_name`` if there is one."""
    del sync_perturbation  # nothing is perturbed
    if axis_name is None:
        return optax.identity()
    return optax.stateless(lambda grads, params: jax.lax.pmean(grads, axis_name))


def _sam_on(
    rho: float, axis_name: str | None = None, sync_perturbation: bool = True
) -> optax.GradientTransformation:
    """SAM on the normalization layers."""
    return ol.sam_on(
        rho, masks.normalization, axis_name=axis_name, sync_perturbation=sync_perturbation
    )


def _momentum_sam(
    optimizer: optax.GradientTransformation,
    rho: float,
    axis_name: str | None = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformation:
    """Momentum-SAM, for the averaged gradient."""
    averaged = _mean_gradient(axis_name, sync_perturbation)
    return optax.chain(averaged, ol.momentum_sam(optimizer, rho))


def _lookahead(
    optimizer: optax.GradientTransformation, arguments: Arguments
) -> optax.GradientTransformation:
    """Lookahead around the base optimizer (Zhang et al., 2019)."""
    k, alpha = arguments["k"], arguments["alpha"]
    if k < 1:
        raise ValueError(f"k must be an integer >= 1, got {k!r}.")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must be a number in (0, 1], got {alpha!r}.")
    return optax.lookahead(optimizer, k, alpha)


def _fast_and_slow(weights: optax.Params) -> optax.LookaheadParams:
    # Copies: a step donates its arguments, and no buffer can be donated twice.
    return optax.LookaheadParams(fast=weights, slow=jax.tree.map(jnp.copy, weights))


# Defaults: rho as in Lookbehind-SAM on CIFAR-10 (Mordido et al., 2024, section 5.2), k and alpha as
# in its Table 8; lambdas, decay, period and probability as in AE-SAM (Jiang et al., 2023, sections
# 3.2 and 4.1), eta as in ASAM (Kwon et al., 2021), beta and gamma as in ESAM (Du et al., 2022).
# Mordido et al. do not state k and alpha of Lookahead, and Jiang et al. search LookSAM's alpha in
# 0.1, 0.3, 0.6, 0.9 without stating the result: those are this project's choice.
# The other methods have SAM's rho, or this project's choice where rho has another meaning (usam,
# sam_on, momentum_sam), and otherwise the defaults of their authors' code.
_SAM = {"rho": 0.05}
_ASAM = {"rho": 0.5, "eta": 0.01}
_MULTISTEP = {"average": False, "rho_over_k": False}
_LOOKBEHIND: spec.Signature = {
    "alpha": "adaptive",
    "fast_optimizer": True,
    "switch_minibatch": False,
    "rho_over_k": False,
}
_LOOKAHEAD = {"k": 5, "alpha": 0.5}
_AE = {"lambda_1": -1.0, "lambda_2": 1.0, "decay": 0.9}
_AE_LOOKSAM = {"lambda_1": 0.0, "lambda_2": 2.0, "decay": 0.9}

_lookahead_parts: dict[str, Any] = {"wrap_optimizer": _lookahead, "wrap_params": _fast_and_slow}

METHODS: dict[str, Method] = {
    "none": Method("{optimizer}", _mean_gradient, {}, ascent_steps=0),
    "sam": Method("SAM", ol.sam, _SAM),
    "asam": Method("ASAM", ol.asam, _ASAM),
    "multistep_sam": Method(
        "Multistep-SAM", ol.multistep_sam, {"k": 2, **_SAM, **_MULTISTEP}, ascent_steps="k"
    ),
    "multistep_asam": Method(
        "Multistep-ASAM", ol.multistep_asam, {"k": 2, **_ASAM, **_MULTISTEP}, ascent_steps="k"
    ),
    "lookahead": Method(
        "Lookahead-{optimizer}", _mean_gradient, _LOOKAHEAD, ascent_steps=0, **_lookahead_parts
    ),
    "lookahead_sam": Method("Lookahead-SAM", ol.sam, {**_LOOKAHEAD, **_SAM}, **_lookahead_parts),
    "lookahead_asam": Method(
        "Lookahead-ASAM", ol.asam, {**_LOOKAHEAD, **_ASAM}, **_lookahead_parts
    ),
    "lookbehind_sam": Method(
        "Lookbehind-SAM", ol.lookbehind_sam, {"k": 2, **_SAM, **_LOOKBEHIND}, ascent_steps="k"
    ),
    "lookbehind_asam": Method(
        "Lookbehind-ASAM", ol.lookbehind_asam, {"k": 2, **_ASAM, **_LOOKBEHIND}, ascent_steps="k"
    ),
    "ae_sam": Method("AE-SAM", ol.ae_sam, {**_SAM, **_AE}),
    "ae_looksam": Method("AE-LookSAM", ol.ae_looksam, {**_SAM, "alpha": 0.5, **_AE_LOOKSAM}),
    "ae_lookbehind_sam": Method(
        "AE-Lookbehind-SAM",
        ol.ae_lookbehind_sam,
        {"k": 2, **_SAM, "alpha": "adaptive", "rho_over_k": False, **_AE},
        ascent_steps="k",
    ),
    "looksam": Method("LookSAM", ol.looksam, {**_SAM, "alpha": 0.5, "period": 5}),
    "ss_sam": Method("SS-SAM", ol.ss_sam, {**_SAM, "probability": 0.5}),
    "esam": Method("ESAM", ol.esam, {**_SAM, "beta": 0.6, "gamma": 0.5}, selects_examples=True),
    "gsam": Method("GSAM", ol.gsam, {**_SAM, "alpha": 0.4}),
    "gnp": Method("GNP", ol.gnp, {**_SAM, "alpha": 0.8}),
    "wsam": Method("WSAM (coupled)", ol.wsam, {**_SAM, "gamma": 0.9}),
    "wsam_decoupled": Method("WSAM", ol.wsam_decoupled, {**_SAM, "gamma": 0.9}),
    "stable_sam": Method("Stable SAM", ol.stable_sam, _SAM),
    "saner": Method("SANER", ol.saner, {**_SAM, "alpha": 0.5}),
    "sam_on": Method("SAM-ON", _sam_on, {"rho": 0.5}),
    "usam": Method("USAM", ol.usam, _SAM),
    "friendly_sam": Method("Friendly SAM", ol.friendly_sam, {**_SAM, "sigma": 1.0, "decay": 0.9}),
    "vasso": Method("VaSSO", ol.vasso, {**_SAM, "theta": 0.9}),
    "momentum_sam": Method(
        "Momentum-SAM",
        _momentum_sam,
        {"rho": 0.3},
        ascent_steps=0,
        trains_perturbed_weights=True,
    ),
}

ALIASES = {"sgd": "none"}  # the base optimizer alone, which usually is SGD


def method(text: str) -> BoundMethod:
    """The method that a string names.

    Raises:
      ValueError: if there is no such method, it does not have one of the arguments, or a value is
        invalid; the message shows the valid names, or the method's arguments and defaults.
    """
    parsed = spec.parse(text)
    name = ALIASES.get(parsed.name, parsed.name)
    if name not in METHODS:
        raise ValueError(unknown("method", parsed.name, METHODS))
    bound = BoundMethod(name, METHODS[name], spec.bind(parsed, METHODS[name].defaults))
    bound.check()
    return bound
