"""Wrappers of the transformation of a run: skipping non-finite steps, sharding gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class SkipNonfiniteState(NamedTuple):
    """State of :func:`skip_nonfinite`.

    Attributes:
      inner: state of the wrapped transformation, as before the step if that was skipped.
      guard: counters of ``optax.apply_if_finite``.
      skipped: whether the last step was skipped.
    """

    inner: optax.OptState
    guard: optax.ApplyIfFiniteState
    skipped: jax.Array


def skip_nonfinite(
    tx: optax.GradientTransformationExtraArgs, max_consecutive: int
) -> optax.GradientTransformationExtraArgs:
    """Skips steps whose update is not finite, at most ``max_consecutive`` in a row.

    ``optax.apply_if_finite`` looks at the incoming gradient. This looks at the update, so that
    non-finite gradients of the perturbed passes are caught too.
    """
    guard = optax.apply_if_finite(optax.identity(), max_consecutive)

    def init(params: optax.Params) -> SkipNonfiniteState:
        return SkipNonfiniteState(tx.init(params), guard.init(params), jnp.array(False))

    def update(
        grads: optax.Updates, state: SkipNonfiniteState, params: optax.Params, **extra_args: Any
    ) -> tuple[optax.Updates, SkipNonfiniteState]:
        updates, inner = tx.update(grads, state.inner, params, **extra_args)
        updates, counts = guard.update(updates, state.guard, params)
        in_a_row = counts.notfinite_count
        skipped = (in_a_row > 0) & (in_a_row <= max_consecutive)
        inner = optax.tree.where(skipped, state.inner, inner)
        return updates, SkipNonfiniteState(inner, counts, skipped)

    return optax.GradientTransformationExtraArgs(init, update)


def constrain_gradients(
    tx: optax.GradientTransformationExtraArgs, constrain: Callable[[Any], Any]
) -> optax.GradientTransformationExtraArgs:
    """Applies a sharding constraint to every gradient that a transformation sees (FSDP).

    Without it XLA:GPU leaves the gradient whole on every device in the branches of a policy.
    """

    def update(
        grads: optax.Updates,
        state: optax.OptState,
        params: optax.Params,
        *,
        grad_fn: Callable[..., optax.Updates],
        **extra_args: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        def constrained_grad_fn(params: optax.Params, i: jax.Array) -> optax.Updates:
            return constrain(grad_fn(params, i))

        grads = constrain(grads)
        return tx.update(grads, state, params, grad_fn=constrained_grad_fn, **extra_args)

    return optax.GradientTransformationExtraArgs(tx.init, update)
