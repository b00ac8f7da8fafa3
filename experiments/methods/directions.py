"""SAM with an ascent that costs no gradient: the last gradient, or a random direction.

The minibatch's own gradient is not used; the compiler leaves it out of the step.
"""

from typing import Any, NamedTuple

import jax
import optax

import optax_lookbehind as ol


class DirectionState(NamedTuple):
    """State of SAM along a direction of its own.

    Attributes:
      direction: the last gradient, or the data of the next draw's key.
      sam: state of SAM.
    """

    direction: Any
    sam: optax.OptState


def last_gradient_sam(rho: float, **axis: Any) -> optax.GradientTransformationExtraArgs:
    """SAM whose ascent is along the gradient emitted last (S^2-SAM, stale SAM).

    The first step has no last gradient: it is a plain one.
    """
    sam = ol.sam(rho, **axis)

    def init_fn(params: optax.Params) -> DirectionState:
        return DirectionState(optax.tree.zeros_like(params), sam.init(params))

    def update_fn(
        updates: optax.Updates,
        state: DirectionState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, DirectionState]:
        del updates
        grads, sam_state = sam.update(state.direction, state.sam, params, **extra)
        return grads, DirectionState(grads, sam_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def random_direction_sam(
    rho: float, *, key: jax.Array | int, **axis: Any
) -> optax.GradientTransformationExtraArgs:
    """SAM whose "ascent" is along a random direction: the control for every choice of one."""
    sam = ol.sam(rho, **axis)
    first = jax.random.key(key) if isinstance(key, int) else key

    def init_fn(params: optax.Params) -> DirectionState:
        return DirectionState(jax.random.key_data(first), sam.init(params))

    def update_fn(
        updates: optax.Updates,
        state: DirectionState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, DirectionState]:
        key, draw = jax.random.split(jax.random.wrap_key_data(state.direction))
        direction = optax.tree.random_like(draw, updates, jax.random.normal)
        grads, sam_state = sam.update(direction, state.sam, params, **extra)
        return grads, DirectionState(jax.random.key_data(key), sam_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
