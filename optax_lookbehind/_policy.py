"""A policy: decide at each step whether to apply a transformation or take a plain step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.ascent import fast_params
from optax_lookbehind._core.axes import average
from optax_lookbehind._core.checks import check_axis_name, check_state, check_transformation
from optax_lookbehind._core.eager import branch
from optax_lookbehind._core.gradient_checks import check_like
from optax_lookbehind._core.protocol import check_emits_gradient, reject_gradients
from optax_lookbehind._core.types import AveragedGradient, AxisName, Decide, GradFn


class PolicyState(NamedTuple):
    """State of every policy.

    Attributes:
      step: number of training steps taken, int32.
      applied: number of steps on which the wrapped transformation was applied, int32. Read it with
        ``optax.tree.get(state, "applied")``.
      decision_state: state of the decision rule: running statistics or a PRNG key.
      inner_state: state of the wrapped transformation.
    """

    step: jax.Array
    applied: jax.Array
    decision_state: Any
    inner_state: optax.OptState

    @property
    def emits_gradient(self) -> bool:
        """Always true."""
        return True


def policy(
    inner: optax.GradientTransformation,
    init_decision: Callable[[optax.Params], Any],
    decide: Decide,
    *,
    axis_name: AxisName = None,
) -> optax.GradientTransformationExtraArgs:
    """Applies ``inner`` on the steps that ``decide`` chooses; on the others its loop does not run.

    Use it to write a policy of your own. Change this::

      tx = optax.chain(sam(rho=0.05), optax.sgd(0.1))

    To this, which applies SAM in the second half of training only::

      def second_half(decision_state, step, grads):
          return step >= total_steps // 2, decision_state

      tx = optax.chain(
          policy(sam(rho=0.05), lambda params: optax.EmptyState(), second_half), optax.sgd(0.1)
      )

    ``decide`` gets the gradient averaged over the devices, so that all of them take the same
    branch; ``inner`` still gets each device's own gradient. On the other steps, the plain ones,
    ``inner`` is called with ``sharpness_aware=False``: it emits the update of a step without
    ascent, and its counters and keys advance as on every training step. See
    :class:`SharpnessAwareUpdateFn`.

    Args:
      inner: any sharpness-aware transformation that emits a gradient, with the same ``axis_name``.
      init_decision: ``params -> decision_state``, the first state of ``decide``.
      decide: ``(decision_state, step, grads) -> (apply_inner, decision_state)``, with ``step`` an
        int32 scalar from 0, ``grads`` the plain gradient and ``apply_inner`` a bool scalar.
      axis_name: the mapped axis over which gradients are averaged.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`.

    Raises:
      ValueError: in ``init`` if ``inner`` is not sharpness-aware, so that it would run on every
        step, or emits a final update, as Lookbehind with ``fast_optimizer`` does; in ``update`` if
        its ``axis_name`` differs from the policy's.
    """
    check_transformation("inner", inner)
    check_axis_name(axis_name)
    inner = optax.with_extra_args_support(inner)

    def init_fn(params: optax.Params) -> PolicyState:
        inner_state = inner.init(params)
        check_emits_gradient("a policy", inner_state)
        return PolicyState(
            step=jnp.zeros([], jnp.int32),
            applied=jnp.zeros([], jnp.int32),
            decision_state=init_decision(fast_params(params)),
            inner_state=inner_state,
        )

    def update_fn(
        updates: optax.Updates,
        state: PolicyState,
        params: optax.Params | None = None,
        *,
        grad_fn: GradFn | None = None,
        sharpness_aware: bool = True,
        averaged: AveragedGradient | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, PolicyState]:
        check_state(state, PolicyState)
        if sharpness_aware:
            averaged = average(updates, axis_name, averaged)
        else:  # the plain step of an enclosing policy, which passes the mean
            averaged = AveragedGradient(updates, updates, axis_name)
        decision = decide(state.decision_state, state.step, averaged.mean)
        _check_decision(decision, state.decision_state)
        apply_inner, decision_state = jnp.asarray(decision[0], bool), decision[1]
        extra_args["averaged"] = averaged

        def sharp() -> tuple[optax.Updates, optax.OptState]:
            emitted, inner_state = inner.update(
                updates, state.inner_state, params, grad_fn=grad_fn, **extra_args
            )
            return optax.tree.cast_like(emitted, updates), inner_state

        def plain() -> tuple[optax.Updates, optax.OptState]:
            emitted, inner_state = inner.update(
                averaged.mean,
                state.inner_state,
                params,
                grad_fn=reject_gradients,
                sharpness_aware=False,
                **extra_args,
            )
            return optax.tree.cast_like(emitted, updates), inner_state

        if sharpness_aware:
            emitted, inner_state = branch(apply_inner, sharp, plain)
        else:
            apply_inner = jnp.zeros_like(apply_inner)
            emitted, inner_state = plain()
        return emitted, PolicyState(
            step=optax.safe_increment(state.step),
            applied=state.applied + apply_inner.astype(jnp.int32),
            decision_state=decision_state,
            inner_state=inner_state,
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _check_decision(decision: Any, decision_state: Any) -> None:
    """Raises unless ``decide`` has returned a bool scalar and a state like the one before."""
    if not (isinstance(decision, tuple) and len(decision) == 2):
        raise ValueError(f"decide must return (apply_inner, decision_state), got {decision!r}.")
    if jnp.ndim(decision[0]) != 0:
        raise ValueError(
            "decide must return a bool scalar as apply_inner, got an array of shape "
            f"{jnp.shape(decision[0])}."
        )
    check_like(decision_state, "the decision_state of decide", decision[1], "the one before")
