"""Alpha, Lookbehind's slow step: how far to follow the fast weights."""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._arguments import check_scalar
from optax_lookbehind._tree import divide, dot, norm, scalar_dtype

Alpha: TypeAlias = optax.ScalarOrSchedule | str
_ADAPTIVE = ("adaptive", "adaptive_per_tensor")


def check_alpha(alpha: Alpha) -> None:
    """Raises ValueError unless ``alpha`` is in (0, 1], a schedule or one of the two words."""
    if isinstance(alpha, str):
        if alpha not in _ADAPTIVE:
            raise ValueError(
                f'alpha must be a number in (0, 1], a schedule, "adaptive" or '
                f'"adaptive_per_tensor", got {alpha!r}.'
            )
    else:
        check_scalar("alpha", alpha, 0, 1, "(]", schedule=True)


def is_adaptive(alpha: Alpha) -> bool:
    """Whether alpha follows from the fast steps, the first of which must then be kept."""
    return isinstance(alpha, str)


def initial_alpha(alpha: Alpha, params: optax.Params) -> Any:
    """What the state holds before the first step: 1 if adaptive, else what that step will use."""
    if not is_adaptive(alpha):
        return given_alpha(alpha, jnp.zeros([], jnp.int32), params)
    if alpha == "adaptive":
        return jnp.ones((), scalar_dtype(params))
    return jax.tree.map(lambda w: jnp.ones((), scalar_dtype(w)), params)


def given_alpha(alpha: Alpha, count: jax.Array, params: optax.Params) -> jax.Array:
    """A fixed or scheduled alpha at training step ``count``."""
    value: Any = alpha(count) if callable(alpha) else alpha
    if jnp.ndim(value) != 0:
        raise ValueError(f"alpha must be a scalar, got shape {jnp.shape(value)}.")
    return jnp.asarray(value, scalar_dtype(params))


def adaptive_alpha(alpha: Alpha, first: optax.Updates, total: optax.Updates) -> Any:
    """Alpha from the fast steps: a scalar, or a pytree of scalars if per tensor.

    Args:
      alpha: one of the two words.
      first: how far the fast weights came in the first inner step.
      total: how far they came in all.
    """
    if alpha == "adaptive":
        return _agreement(first, total)
    return jax.tree.map(_agreement, first, total)


def _agreement(first: Any, total: Any) -> jax.Array:
    """Equations 7 and 8: ``(cos + 1) / 2``, cos being 0 where either vector is zero."""
    return (divide(dot(first, total), norm(first) * norm(total)) + 1) / 2
