"""The table of methods: a new method is one row.

A method is named with its arguments in one string, ``lookbehind_sam:k=5,rho=0.05``; arguments that
are not given have the defaults of the table, most of them the papers' or of the authors' code.
"""

from collections.abc import Callable
from math import erfc, sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_lookbehind as ol
from experiments.configs.lookup import unknown
from experiments.methods import directions, masks, spec
from experiments.methods.method import (
    Arguments,
    BoundMethod,
    Build,
    Context,
    Method,
    Step,
    ascent_length,
)
from experiments.methods.own import own_method


def _chained(alias: Callable[..., optax.GradientTransformation]) -> Build:
    """The alias, called with all arguments of the row, in front of the base optimizer."""
    return lambda arguments, run: run.chain(alias(**arguments, **run.axis))


def _averaged(run: Context, tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """A transformation that does not know of mapped axes, given the averaged gradient."""
    if not run.axis:
        return optax.chain(optax.identity(), tx)
    name = run.axis["axis_name"]
    return optax.chain(optax.stateless(lambda grads, params: jax.lax.pmean(grads, name)), tx)


def _lookahead(arguments: Arguments, run: Context) -> optax.GradientTransformation:
    """Lookahead around the base optimizer (Zhang et al., 2019)."""
    k, alpha = arguments["k"], arguments["alpha"]
    if k < 1:
        raise ValueError(f"k must be an integer >= 1, got {k!r}.")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must be a number in (0, 1], got {alpha!r}.")
    return optax.lookahead(run.optimizer, k, alpha)


def _fast_and_slow(weights: optax.Params) -> optax.LookaheadParams:
    # Copies: a step donates its arguments, and no buffer can be donated twice.
    return optax.LookaheadParams(fast=weights, slow=jax.tree.map(jnp.copy, weights))


def _lookbehind(
    alias: Callable[..., optax.GradientTransformation], arguments: Arguments, run: Context
) -> optax.GradientTransformation:
    """Lookbehind with the base optimizer inside, as in the authors' code, or chained behind it.

    Without momentum both are Algorithm 1.
    """
    values = _ascent(arguments)
    if values.pop("fast_optimizer"):
        return alias(**values, fast_optimizer=run.optimizer, **run.axis)
    return run.chain(alias(**values, **run.axis))


def _ascent(arguments: Arguments) -> dict[str, Any]:
    """The arguments for the library, which has no ``rho_over_k``."""
    values = {key: value for key, value in arguments.items() if key != "rho_over_k"}
    return values | {"rho": ascent_length(arguments)}


def _no_ascent(arguments: Arguments) -> Step:
    del arguments
    return Step(ascent_steps=0, sharp_fraction=0.0)


def _k_ascents(arguments: Arguments) -> Step:
    return Step(ascent_steps=arguments["k"])


def _lookbehind_step(arguments: Arguments) -> Step:
    k = arguments["k"]
    return Step(
        ascent_steps=k,
        minibatches=k if arguments["switch_minibatch"] else 1,
        optimizer_calls=k if arguments["fast_optimizer"] else 1,
        length=_lookbehind_length(arguments),
    )


def _lookbehind_length(arguments: Arguments) -> float:
    """About k * alpha; an adaptive alpha is near 1, where the gradients point alike."""
    alpha = arguments["alpha"]
    return arguments["k"] * (1.0 if isinstance(alpha, str) else alpha)


def _adaptive_step(arguments: Arguments) -> Step:
    """Steps of the adaptive policy, for normally distributed squared gradient norms."""
    # The threshold's coefficient c goes from lambda_2 to lambda_1: the mean of P(Z >= c).
    coefficients = np.linspace(arguments["lambda_2"], arguments["lambda_1"])
    fraction = np.mean([erfc(c / sqrt(2)) / 2 for c in coefficients])
    length = _lookbehind_length(arguments) if "k" in arguments else 1.0
    return Step(arguments.get("k", 1), sharp_fraction=float(fraction), length=length)


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

METHODS: dict[str, Method] = {
    "none": Method("{optimizer}", lambda a, run: _averaged(run, run.optimizer), {}, _no_ascent),
    "sam": Method("SAM", _chained(ol.sam), _SAM),
    "asam": Method("ASAM", _chained(ol.asam), _ASAM, perturbation="asam"),
    "multistep_sam": Method(
        "Multistep-SAM",
        lambda a, run: run.chain(ol.multistep_sam(**_ascent(a), **run.axis)),
        {"k": 2, **_SAM, **_MULTISTEP},
        _k_ascents,
    ),
    "multistep_asam": Method(
        "Multistep-ASAM",
        lambda a, run: run.chain(ol.multistep_asam(**_ascent(a), **run.axis)),
        {"k": 2, **_ASAM, **_MULTISTEP},
        _k_ascents,
        perturbation="asam",
    ),
    "lookahead": Method(
        "Lookahead-{optimizer}",
        lambda a, run: _averaged(run, _lookahead(a, run)),
        _LOOKAHEAD,
        _no_ascent,
        wrap_params=_fast_and_slow,
    ),
    "lookahead_sam": Method(
        "Lookahead-SAM",
        lambda a, run: optax.chain(ol.sam(a["rho"], **run.axis), _lookahead(a, run)),
        {**_LOOKAHEAD, **_SAM},
        wrap_params=_fast_and_slow,
    ),
    "lookahead_asam": Method(
        "Lookahead-ASAM",
        lambda a, run: optax.chain(ol.asam(a["rho"], a["eta"], **run.axis), _lookahead(a, run)),
        {**_LOOKAHEAD, **_ASAM},
        perturbation="asam",
        wrap_params=_fast_and_slow,
    ),
    "lookbehind_sam": Method(
        "Lookbehind-SAM",
        lambda a, run: _lookbehind(ol.lookbehind_sam, a, run),
        {"k": 2, **_SAM, **_LOOKBEHIND},
        _lookbehind_step,
    ),
    "lookbehind_asam": Method(
        "Lookbehind-ASAM",
        lambda a, run: _lookbehind(ol.lookbehind_asam, a, run),
        {"k": 2, **_ASAM, **_LOOKBEHIND},
        _lookbehind_step,
        perturbation="asam",
    ),
    "ae_sam": Method(
        "AE-SAM",
        lambda a, run: run.chain(ol.ae_sam(**a, total_steps=run.total_steps, **run.axis)),
        {**_SAM, **_AE},
        _adaptive_step,
    ),
    "ae_looksam": Method(
        "AE-LookSAM",
        lambda a, run: run.chain(ol.ae_looksam(**a, total_steps=run.total_steps, **run.axis)),
        {**_SAM, "alpha": 0.5, **_AE_LOOKSAM},
        _adaptive_step,
    ),
    "ae_lookbehind_sam": Method(
        "AE-Lookbehind-SAM",
        lambda a, run: run.chain(
            ol.ae_lookbehind_sam(**_ascent(a), total_steps=run.total_steps, **run.axis)
        ),
        {"k": 2, **_SAM, "alpha": "adaptive", "rho_over_k": False, **_AE},
        _adaptive_step,
    ),
    "looksam": Method(
        "LookSAM",
        _chained(ol.looksam),
        {**_SAM, "alpha": 0.5, "period": 5},
        lambda a: Step(sharp_fraction=1 / a["period"]),
    ),
    "ss_sam": Method(
        "SS-SAM",
        lambda a, run: run.chain(ol.ss_sam(**a, key=run.key, **run.axis)),
        {**_SAM, "probability": 0.5},
        lambda a: Step(sharp_fraction=a["probability"]),
    ),
    "late_sam": Method(
        "Late SAM",
        lambda a, run: run.chain(ol.late_sam(**a, total_steps=run.total_steps, **run.axis)),
        {**_SAM, "fraction": 0.5},
        lambda a: Step(sharp_fraction=a["fraction"]),
    ),
    "esam": Method(
        "ESAM",
        lambda a, run: run.chain(ol.esam(a["rho"], a["beta"], key=run.key, **run.axis)),
        {**_SAM, "beta": 0.6, "gamma": 0.5},
        example_fraction=lambda a: a["gamma"],
    ),
    "gsam": Method("GSAM", _chained(ol.gsam), {**_SAM, "alpha": 0.4}),
    "gnp": Method("GNP", _chained(ol.gnp), {**_SAM, "alpha": 0.8}),
    "wsam": Method("WSAM (coupled)", _chained(ol.wsam), {**_SAM, "gamma": 0.9}),
    "wsam_decoupled": Method(
        "WSAM",
        lambda a, run: ol.wsam_decoupled(run.optimizer, run.learning_rate, **a, **run.axis),
        {**_SAM, "gamma": 0.9},
    ),
    "stable_sam": Method("Stable SAM", _chained(ol.stable_sam), _SAM),
    "saner": Method("SANER", _chained(ol.saner), {**_SAM, "alpha": 0.5}),
    "sam_on": Method(
        "SAM-ON",
        lambda a, run: run.chain(ol.sam_on(a["rho"], masks.normalization, **run.axis)),
        {"rho": 0.5},
    ),
    "usam": Method("USAM", _chained(ol.usam), _SAM),
    "le_sam": Method("LE-SAM", _chained(ol.le_sam), {"budget": 0.1, "rho_max": 0.05}),
    "xsam": Method(
        "XSAM",
        lambda a, run: run.chain(ol.xsam(**_ascent(a), **run.axis)),
        {**_SAM, "alpha": 1.0, "k": 1, "rho_over_k": False},
        _k_ascents,
    ),
    "friendly_sam": Method(
        "Friendly SAM",
        _chained(ol.friendly_sam),
        {**_SAM, "sigma": 1.0, "decay": 0.9},
    ),
    "vasso": Method("VaSSO", _chained(ol.vasso), {**_SAM, "theta": 0.9}),
    "last_gradient_sam": Method(
        "SAM along the last gradient",
        lambda a, run: run.chain(directions.last_gradient_sam(**a, **run.axis)),
        _SAM,
        _no_ascent,
    ),
    "random_direction_sam": Method(
        "SAM along a random direction",
        lambda a, run: run.chain(directions.random_direction_sam(**a, key=run.key, **run.axis)),
        _SAM,
        _no_ascent,
    ),
    "momentum_sam": Method(
        "Momentum-SAM",
        lambda a, run: _averaged(run, ol.momentum_sam(run.optimizer, a["rho"])),
        {"rho": 0.3},
        _no_ascent,
        trains_perturbed_weights=True,
    ),
}

ALIASES = {"sgd": "none"}  # the base optimizer alone, which usually is SGD


def method(text: str) -> BoundMethod:
    """The method that a string names.

    Args:
      text: a name of the table or ``module:function`` (:func:`own_method`), with arguments or none.

    Raises:
      ValueError: if there is no such method, it does not have one of the arguments, or a value is
        invalid; the message shows the valid names, or the method's arguments and defaults.
    """
    parsed = spec.parse(text)
    name = ALIASES.get(parsed.name, parsed.name)
    if ":" in name and name.partition(":")[0] not in METHODS:
        row = own_method(name)
    elif name in METHODS:
        row = METHODS[name]
    elif ":" in name:
        raise ValueError(spec.wrong_form(text))
    else:
        raise ValueError(f"{unknown('method', name, METHODS)} Or module:function, your own.")
    bound = BoundMethod(name, row, spec.bind(parsed, row.defaults))
    bound.check()
    return bound
