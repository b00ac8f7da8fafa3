"""When to be sharpness-aware: run the wrapped transformation, or only pass the gradient on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._arguments import check_scalar, check_transformation
from optax_lookbehind._ascent import fast_params
from optax_lookbehind._devices import AxisName, check_not_reduced, mean_over
from optax_lookbehind._lookbehind import LookbehindState
from optax_lookbehind._tree import accumulable, divide, dot, norm, squared_norm

# (its own state, training step, averaged gradient) -> (whether to use SAM, its next state)
Decide = Callable[[Any, jax.Array, optax.Updates], tuple[jax.Array, Any]]


class PolicyState(NamedTuple):
    """State of every policy.

    Attributes:
      count: number of training steps taken, int32.
      applied: in how many of them the wrapped transformation ran, int32. Read it with
        ``optax.tree.get(state, "applied")``.
      decision_state: what the decision rests on: statistics or a random key.
      sharp_direction: with ``reuse``, LookSAM's ``v``: the part of the last sharpness-aware
        gradient across the plain one, like the weights; zeros before the first use. None without.
      inner_state: state of the wrapped transformation.
    """

    count: jax.Array  # type: ignore[assignment]  # as in optax: hides tuple.count
    applied: jax.Array
    decision_state: Any
    sharp_direction: optax.Updates | None
    inner_state: optax.OptState


def policy(
    inner: optax.GradientTransformation,
    init_decision: Callable[[optax.Params], Any],
    decide: Decide,
    reuse: optax.ScalarOrSchedule | None,
    axis_name: AxisName,
) -> optax.GradientTransformationExtraArgs:
    """Runs ``inner`` where ``decide`` says so; elsewhere its loop does not run at all.

    The decision is taken on the gradient averaged over the devices, so that all of them take the
    same branch; ``inner`` still gets each device's own gradient. On the other steps ``inner`` is
    called with ``sharpness_aware=False``: it emits what stands for a step without ascent, and its
    counters and keys advance as on every training step.

    Args:
      inner: any sharpness-aware transformation that emits a gradient.
      init_decision: weights -> first state of ``decide``.
      decide: see ``Decide``.
      reuse: LookSAM's alpha, or None to emit the plain gradient where SAM is not used.
      axis_name: the mapped axis over which gradients are averaged.
    """
    check_transformation("inner", inner)
    inner = optax.with_extra_args_support(inner)
    if reuse is not None:
        check_scalar("reuse", reuse, 0, jnp.inf, "[)", schedule=True)

    def init_fn(params: optax.Params) -> PolicyState:
        params = fast_params(params)
        inner_state = inner.init(params)
        _check_emits_gradients(inner_state)
        return PolicyState(
            count=jnp.zeros([], jnp.int32),
            applied=jnp.zeros([], jnp.int32),
            decision_state=init_decision(params),
            sharp_direction=None if reuse is None else optax.tree.zeros_like(params),
            inner_state=inner_state,
        )

    def update_fn(
        updates: optax.Updates,
        state: PolicyState,
        params: optax.Params | None = None,
        *,
        sharpness_aware: bool = True,
        **extra_args: Any,
    ) -> tuple[optax.Updates, PolicyState]:
        grads = updates
        if sharpness_aware:  # else a policy around this one has averaged already
            check_not_reduced("updates", updates, axis_name)
            grads = mean_over(updates, axis_name)
        use, decision_state = decide(state.decision_state, state.count, grads)
        extra_args["policy_axis_name"] = axis_name

        def sharp() -> tuple[optax.Updates, Any, optax.OptState]:
            sharp_grads, inner_state = inner.update(
                updates, state.inner_state, params, **extra_args
            )
            direction = state.sharp_direction
            if direction is not None:
                direction = optax.tree.cast_like(_across(sharp_grads, grads), direction)
            return optax.tree.cast_like(sharp_grads, updates), direction, inner_state

        def plain() -> tuple[optax.Updates, Any, optax.OptState]:
            emitted, direction = grads, state.sharp_direction
            if reuse is not None:
                alpha = reuse(state.count) if callable(reuse) else reuse
                emitted = _lean_towards(direction, grads, alpha)
            emitted, inner_state = inner.update(
                emitted, state.inner_state, params, sharpness_aware=False, **extra_args
            )
            return optax.tree.cast_like(emitted, updates), direction, inner_state

        if sharpness_aware:
            emitted, direction, inner_state = jax.lax.cond(use, sharp, plain)
        else:
            use = jnp.zeros_like(use)
            emitted, direction, inner_state = plain()
        return emitted, PolicyState(
            count=optax.safe_increment(state.count),
            applied=state.applied + use.astype(jnp.int32),
            decision_state=decision_state,
            sharp_direction=direction,
            inner_state=inner_state,
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _across(sharp: optax.Updates, grads: optax.Updates) -> optax.Updates:
    """The part of ``sharp`` orthogonal to ``grads`` (LookSAM)."""
    share = divide(dot(sharp, grads), squared_norm(grads))
    return optax.tree.add_scale(accumulable(sharp), -share, accumulable(grads))


def _lean_towards(direction: optax.Updates, grads: optax.Updates, alpha: Any) -> optax.Updates:
    """``g + alpha |g| v / |v|`` (LookSAM, Algorithm 1); ``g`` where ``v`` is zero."""
    scale = alpha * divide(norm(grads), norm(direction))
    return optax.tree.add_scale(accumulable(grads), scale, accumulable(direction))


def _check_emits_gradients(inner_state: optax.OptState) -> None:
    """Raises ValueError for a Lookbehind that emits final updates."""
    is_lookbehind = lambda x: isinstance(x, LookbehindState)  # noqa: E731
    for part in jax.tree.leaves(inner_state, is_leaf=is_lookbehind):
        if is_lookbehind(part) and part.fast_state is not None:
            raise ValueError(
                "a policy cannot wrap lookbehind with fast_optimizer: that emits the final update "
                "where the policy would emit a gradient. Put the optimizer behind the policy: "
                "optax.chain(adaptive_policy(lookbehind_sam(k, rho, alpha), ...), fast_optimizer)."
            )
