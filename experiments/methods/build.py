"""How the methods of the table are built, and what a step of them consists of."""

from collections.abc import Callable
from math import erfc, sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.methods.method import Arguments, Build, Context, Step, ascent_length


def chained(alias: Callable[..., optax.GradientTransformation]) -> Build:
    """The alias, called with all arguments of the row, in front of the base optimizer."""
    return lambda arguments, run: run.chain(alias(**arguments, **run.axis))


def averaged(run: Context, tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """A transformation that does not know of mapped axes, given the averaged gradient."""
    if not run.axis:
        return optax.chain(optax.identity(), tx)
    name = run.axis["axis_name"]
    return optax.chain(optax.stateless(lambda grads, params: jax.lax.pmean(grads, name)), tx)


def lookahead(arguments: Arguments, run: Context) -> optax.GradientTransformation:
    """Lookahead around the base optimizer (Zhang et al., 2019)."""
    k, alpha = arguments["k"], arguments["alpha"]
    if k < 1:
        raise ValueError(f"k must be an integer >= 1, got {k!r}.")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must be a number in (0, 1], got {alpha!r}.")
    return optax.lookahead(run.optimizer, k, alpha)


def fast_and_slow(weights: optax.Params) -> optax.LookaheadParams:
    """The params of ``optax.lookahead``."""
    # Copies: a step donates its arguments, and no buffer can be donated twice.
    return optax.LookaheadParams(fast=weights, slow=jax.tree.map(jnp.copy, weights))


def lookbehind(
    alias: Callable[..., optax.GradientTransformation], arguments: Arguments, run: Context
) -> optax.GradientTransformation:
    """Lookbehind with the base optimizer inside, as in the authors' code, or chained behind it.

    Without momentum both are Algorithm 1.
    """
    values = ascent(arguments)
    if values.pop("fast_optimizer"):
        return alias(**values, fast_optimizer=run.optimizer, **run.axis)
    return run.chain(alias(**values, **run.axis))


def ascent(arguments: Arguments) -> dict[str, Any]:
    """The arguments for the library, which has no ``rho_over_k``."""
    values = {key: value for key, value in arguments.items() if key != "rho_over_k"}
    return values | {"rho": ascent_length(arguments)}


def no_ascent(arguments: Arguments) -> Step:
    """A step without ascent steps."""
    del arguments
    return Step(ascent_steps=0, sharp_fraction=0.0)


def k_ascents(arguments: Arguments) -> Step:
    """A step with k ascent steps on one minibatch."""
    return Step(ascent_steps=arguments["k"])


def lookbehind_step(arguments: Arguments) -> Step:
    """A step of Lookbehind, with the base optimizer inside or behind."""
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


def adaptive_step(arguments: Arguments) -> Step:
    """Steps of the adaptive policy, for normally distributed squared gradient norms."""
    # The threshold's coefficient c goes from lambda_2 to lambda_1: the mean of P(Z >= c).
    coefficients = np.linspace(arguments["lambda_2"], arguments["lambda_1"])
    fraction = np.mean([erfc(c / sqrt(2)) / 2 for c in coefficients])
    length = _lookbehind_length(arguments) if "k" in arguments else 1.0
    return Step(arguments.get("k", 1), sharp_fraction=float(fraction), length=length)
