"""What a policy is, and how the loops ask it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.gradient_checks import check_like


class Policy(NamedTuple):
    """When to be sharpness-aware: a value that :func:`multistep` and :func:`lookbehind` take.

    The loop asks once per training step. Where the answer is no, the inner loop does not run: the
    step emits the plain gradient and costs no gradient but the caller's. To apply SAM in the second
    half of training only::

      second_half = Policy(
          init=lambda params: optax.EmptyState(),
          decide=lambda state, step, grads: (step >= total_steps // 2, state),
      )
      tx = optax.chain(multistep(sam_perturbation(0.05), policy=second_half), optax.sgd(0.1))

    Attributes:
      init: ``params -> state``, the first state of the decision.
      decide: ``(state, step, grads) -> (apply, state)``, with ``step`` an int32 scalar from 0,
        ``grads`` the plain gradient, averaged over the devices so that all of them decide alike,
        and ``apply`` a bool scalar. The state keeps its structure and shapes.
    """

    init: Callable[[optax.Params], Any]
    decide: Callable[[Any, jax.Array, optax.Updates], tuple[jax.Array, Any]]


class PolicyState(NamedTuple):
    """State of a policy, in the state of the loop.

    Attributes:
      step: number of training steps taken, int32.
      applied: number of sharpness-aware steps among them, int32. Read it with
        ``optax.tree.get(state, "applied")``.
      decision_state: state of the decision: running statistics or a random key.
    """

    step: jax.Array
    applied: jax.Array
    decision_state: Any


def init_policy(policy: Policy | None, params: optax.Params) -> PolicyState | None:
    """The first state of a policy; None without one."""
    if policy is None:
        return None
    # Two zeros, because a donated state must not hold one array twice.
    zeros = jnp.zeros([], jnp.int32), jnp.zeros([], jnp.int32)
    return PolicyState(*zeros, policy.init(params))


def decide(
    policy: Policy | None, state: PolicyState | None, shared: optax.Updates, apply: bool | None
) -> tuple[Any, PolicyState | None]:
    """Whether to be sharpness-aware in this step, and the policy's next state.

    Args:
      policy: the policy; None for every step.
      state: its state.
      shared: the plain gradient, averaged over the devices.
      apply: the caller's decision, a Python bool, in place of the policy's; None for none.
    """
    if not (apply is None or isinstance(apply, bool)):
        raise ValueError(
            "apply must be True or False, known when the step is traced, or None to leave the "
            f"decision to the policy; got {apply!r}. For a decision at run time write a Policy."
        )
    if policy is None or state is None:
        return True if apply is None else apply, None
    decision, decision_state = policy.decide(state.decision_state, state.step, shared)
    if jnp.ndim(decision) != 0:
        raise ValueError(
            "decide must return (apply, state) with a bool scalar as apply, got an array of shape "
            f"{jnp.shape(decision)}."
        )
    check_like(state.decision_state, "the state of decide", decision_state, "the one before")
    sharp_step = jnp.asarray(decision, bool) if apply is None else apply
    return sharp_step, PolicyState(
        step=optax.safe_increment(state.step),
        applied=state.applied + jnp.asarray(sharp_step, jnp.int32),
        decision_state=decision_state,
    )
