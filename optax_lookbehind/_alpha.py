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
        check_scalar("alpha", alpha, 0, 1, "(]")


def is_adaptive(alpha: Alpha) -> bool:
    """Whether alpha follows from the fast steps, the first of which must then be kept."""
    return isinstance(alpha, str)


def initial_alpha(alpha: Alpha, params: optax.Params) -> Any:
    """Zeros of the structure that ``alpha`` has in the state: "none used yet"."""
    if isinstance(alpha, str) and alpha == "adaptive_per_tensor":
        return jax.tree.map(lambda w: jnp.zeros((), scalar_dtype(w)), params)
    return jnp.zeros((), scalar_dtype(params))


def compute_alpha(
    alpha: Alpha, count: jax.Array, first: optax.Updates | None, total: optax.Updates
) -> Any:
    """Alpha for this step: a scalar, or a pytree of scalars if per tensor.

    Args:
      alpha: the argument of :func:`lookbehind`.
      count: the training step, for schedules.
      first: how far the fast weights came in the first inner step; adaptive alpha only.
      total: how far they came in all.
    """
    if isinstance(alpha, str):
        if alpha == "adaptive":
            return _agreement(first, total)
        return jax.tree.map(_agreement, first, total)
    value = alpha(count) if callable(alpha) else alpha
    return jnp.asarray(value, scalar_dtype(total))


def _agreement(first: Any, total: Any) -> jax.Array:
    """Equations 7 and 8: ``(cos + 1) / 2``, cos being 0 where either vector is zero."""
    return (divide(dot(first, total), norm(first) * norm(total)) + 1) / 2
