"""The types of the library's arguments."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import optax

AxisName: TypeAlias = str | tuple[str, ...] | None
"""A mapped axis of ``jax.shard_map``, ``jax.pmap`` or ``jax.vmap``, or several; None for none."""


class ValueAndGrads(NamedTuple):
    """The loss and its gradient: what a ``grad_fn`` may return in place of the gradient alone.

    It is recognized by its type, because weights may be pairs themselves. The losses are then in
    the state of :func:`multistep` and :func:`lookbehind`, at no further cost:
    ``optax.tree.get(state, "perturbed_losses")``. :func:`value_and_grad` makes such a ``grad_fn``.

    Attributes:
      value: the loss, a real scalar.
      grads: its gradient, a pytree like the weights.
    """

    value: jax.Array
    grads: optax.Updates


GradFn: TypeAlias = Callable[[optax.Params, jax.Array], optax.Updates | ValueAndGrads]
"""``(params, i) -> grads``: the gradient of the loss at ``params``.

``i``, an int32 scalar from 0, is the inner step: index minibatches with it to switch between them,
ignore it to stay on one. ``grads`` has the structure and shapes of ``params``; return
``ValueAndGrads(value, grads)`` to find the losses in the state.
"""

LossFn: TypeAlias = Callable[[optax.Params, Any], jax.Array]
"""``(params, batch) -> scalar``: the mean loss of a minibatch."""

Mask: TypeAlias = Any | Callable[[optax.Params], Any]
"""A pytree of bools like the weights or a prefix of it, or ``params -> such a pytree``."""

Alpha: TypeAlias = optax.ScalarOrSchedule | str
"""Lookbehind's slow step size: a number in (0, 1], a schedule, ``"adaptive"`` or
``"adaptive_per_tensor"``."""
