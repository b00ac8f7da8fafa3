"""SAM with an ascent that costs no gradient: along the last gradient, or a random direction.

The minibatch's own gradient is not used; the compiler leaves it out of the step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

import optax_lookbehind as ol


class DirectionState(NamedTuple):
    """State of SAM along a direction of its own.

    Attributes:
      kept: what the next direction is made of.
      sam: state of SAM.
    """

    kept: Any
    sam: optax.OptState


def last_gradient_sam(rho: float, **axis: Any) -> optax.GradientTransformationExtraArgs:
    """SAM along the gradient emitted last, e = rho g_{t-1} / |g_{t-1}| (S^2-SAM, stale SAM).

    The first step has no last gradient: it is a plain one.
    """
    return _sam_along(
        ol.sam(rho, **axis),
        first=optax.tree.zeros_like,
        direction=lambda last, like: last,
        keep=lambda last, grads: grads,
    )


def random_direction_sam(
    rho: float, *, key: jax.Array | int, **axis: Any
) -> optax.GradientTransformationExtraArgs:
    """SAM along a normally distributed direction: the control for every choice of one."""
    first = jax.random.key(key) if isinstance(key, int) else key

    def keys(data: jax.Array) -> jax.Array:
        """The key of the steps to come, and that of this step."""
        return jax.random.split(jax.random.wrap_key_data(data))

    return _sam_along(
        ol.sam(rho, **axis),
        first=lambda params: jax.random.key_data(first),
        direction=lambda data, like: optax.tree.random_like(keys(data)[1], like, jax.random.normal),
        keep=lambda data, grads: jax.random.key_data(keys(data)[0]),
    )


def _sam_along(
    sam: optax.GradientTransformationExtraArgs,
    *,
    first: Callable[[optax.Params], Any],
    direction: Callable[[Any, optax.Updates], optax.Updates],
    keep: Callable[[Any, optax.Updates], Any],
) -> optax.GradientTransformationExtraArgs:
    """SAM whose ascent is along ``direction(kept, updates)`` in place of the gradient."""

    def init_fn(params: optax.Params) -> DirectionState:
        return DirectionState(first(params), sam.init(params))

    def update_fn(
        updates: optax.Updates,
        state: DirectionState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, DirectionState]:
        along = direction(state.kept, updates)
        grads, sam_state = sam.update(along, state.sam, params, **extra)
        return grads, DirectionState(keep(state.kept, grads), sam_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
