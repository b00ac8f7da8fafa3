"""Alpha, Lookbehind's slow step size: fixed, scheduled or adaptive."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import as_float, at_step, check_fraction, check_non_negative
from optax_lookbehind._core.tree import divide, dot, norm, scalar_dtype
from optax_lookbehind._core.types import Alpha

_VALID = 'a number in (0, 1], a schedule, "adaptive" or "adaptive_per_tensor"'


def check_alpha(alpha: Alpha) -> None:
    """Raises unless ``alpha`` is in (0, 1], a schedule or one of the two strings."""
    if isinstance(alpha, str):
        if alpha not in ("adaptive", "adaptive_per_tensor"):
            raise ValueError(f"alpha must be {_VALID}, got {alpha!r}.")
    elif as_float(alpha) == -1:
        raise ValueError(
            f"alpha must be {_VALID}, got {alpha!r}. The adaptive alpha that the authors' code "
            'selects by -1 is "adaptive_per_tensor"; "adaptive" is the paper\'s, over the whole '
            "model."
        )
    else:
        check_fraction("alpha", alpha, zero=False, schedule=True)


def initial_alpha(alpha: Alpha, params: optax.Params) -> jax.Array:
    """The alpha in the first state: 1 if adaptive, else the one of the first training step."""
    if not isinstance(alpha, str):
        return scheduled_alpha(alpha, jnp.zeros([], jnp.int32), params)
    # Not a pytree like the weights: tools that give each part of an optimizer state the sharding of
    # its weights (optax.tree.map_params, nnx.Optimizer) would take its scalars for weights.
    shape = () if alpha == "adaptive" else (len(jax.tree.leaves(params)),)
    return jnp.ones(shape, scalar_dtype(params))


def scheduled_alpha(alpha: Alpha, step: jax.Array, params: optax.Params) -> jax.Array:
    """A fixed or scheduled alpha at a training step."""
    value = at_step("alpha", alpha, step, check_non_negative)
    return jnp.asarray(value, scalar_dtype(params))


def adaptive_alpha(alpha: Alpha, first: optax.Updates, total: optax.Updates) -> jax.Array:
    """Equations 7 and 8: a scalar, or for ``"adaptive_per_tensor"`` a vector, one for each leaf.

    Args:
      alpha: ``"adaptive"`` or ``"adaptive_per_tensor"``.
      first: f_1 - w, the displacement of the fast weights after the first inner step.
      total: f_k - w, their displacement after the last.
    """
    if alpha == "adaptive":  # one angle for the whole model
        return _alpha_from_cosine(first, total)
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(total), strict=True)
    dtype = scalar_dtype(total)
    return jnp.array([_alpha_from_cosine(f, t).astype(dtype) for f, t in pairs], dtype)


def finite_alpha(alpha: Any, kept: Any) -> Any:
    """``alpha``, or the kept one where a gradient with a NaN has spoiled it.

    A policy's plain steps use it.
    """
    return jax.tree.map(lambda new, old: jnp.where(jnp.isfinite(new), new, old), alpha, kept)


def _alpha_from_cosine(first: Any, total: Any) -> jax.Array:
    """``(cos + 1) / 2``, with cos = 0 if either vector is zero."""
    return (divide(dot(first, total), norm(first) * norm(total)) + 1) / 2
