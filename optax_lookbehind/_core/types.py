"""The types of the library, among them the protocol between a policy and what it wraps."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import optax

AxisName: TypeAlias = str | tuple[str, ...] | None
"""A mapped axis of ``jax.shard_map``, ``jax.pmap`` or ``jax.vmap``, or several; None for none."""

GradFn: TypeAlias = Callable[[optax.Params, jax.Array], optax.Updates]
"""``(params, i) -> grads``: the gradient of the loss at ``params``.

``i``, an int32 scalar from 0, is the inner step: index minibatches with it to switch between them,
ignore it to stay on one. ``grads`` has the structure and shapes of ``params``.
"""

LossFn: TypeAlias = Callable[[optax.Params, Any], jax.Array]
"""``(params, batch) -> scalar``: the mean loss of a minibatch."""

Mask: TypeAlias = Any | Callable[[optax.Params], Any]
"""A pytree of bools like the weights or a prefix of it, or ``params -> such a pytree``."""

Alpha: TypeAlias = optax.ScalarOrSchedule | str
"""Lookbehind's slow step size: a number in (0, 1], a schedule, ``"adaptive"`` or
``"adaptive_per_tensor"``."""

Decide: TypeAlias = Callable[[Any, jax.Array, optax.Updates], tuple[jax.Array, Any]]
"""``(decision_state, step, grads) -> (apply_inner, decision_state)``: the decision of a policy."""


class AveragedGradient(NamedTuple):
    """A gradient and its mean over a mapped axis, passed to wrapped transformations.

    Attributes:
      local: the device's own gradient.
      mean: its mean over the axis; ``local`` itself without one.
      axis_name: the axis.
    """

    local: optax.Updates
    mean: optax.Updates
    axis_name: AxisName


class SharpnessAwareUpdateFn(Protocol):
    """The ``update`` of a transformation that a policy can wrap.

    :func:`multistep`, :func:`lookbehind`, :func:`reuse_direction` and the policies follow this
    protocol, and so does any Optax wrapper around them that forwards extra arguments, such as
    ``optax.chain``. Write it out only for an inner loop or a wrapper of your own:

    * With ``sharpness_aware=True`` (the default) it evaluates ``grad_fn`` and emits the
      sharpness-aware gradient. ``updates`` is the device's own gradient.
    * With ``sharpness_aware=False``, a policy's plain step, it must not call ``grad_fn``: the
      policy raises an error if it does. ``updates`` is the averaged gradient. It emits the plain
      gradient (scaled so that both kinds of step are about equally long), and its schedules,
      counters and keys advance as on every training step.
    * It forwards the extra arguments that it does not use to whatever it wraps.
    * It emits a gradient, and its state (or a part of it) has the property ``emits_gradient``: see
      :class:`SharpnessAwareState`.
    """

    def __call__(
        self,
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        *,
        grad_fn: GradFn | None = None,
        sharpness_aware: bool = True,
        averaged: AveragedGradient | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        """Returns the emitted update and the next state.

        Args:
          updates: the plain gradient at ``params``.
          state: as ``init`` or the last call returned it.
          params: the weights.
          grad_fn: the gradient function.
          sharpness_aware: a Python bool; False on a policy's plain step.
          averaged: the gradient on which a policy decided, with its mean over the axis, so that the
            same gradient is not averaged twice; None outside a policy.
          **extra_args: arguments for other transformations.
        """
        ...


class SharpnessAwareState(Protocol):
    """The state of a transformation that follows :class:`SharpnessAwareUpdateFn`.

    A policy looks for this property in the state that ``inner.init`` returns, nested states
    included. Give it to the ``NamedTuple`` of a method of your own; a wrapper around an existing
    method needs nothing, because it holds that method's state.
    """

    @property
    def emits_gradient(self) -> bool:
        """True for a gradient; False for the final update of a complete method."""
        ...
