"""Multistep ascent: descend along the gradient at the perturbed weights. One step is SAM."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._combinations import Combination
from optax_lookbehind._core import ascent
from optax_lookbehind._core.ascent import (
    advance_state,
    ascent_step,
    fast_params,
    gradients_of,
    init_perturbation,
    next_losses,
)
from optax_lookbehind._core.checks import check_count, check_devices, check_type, is_traced
from optax_lookbehind._core.policy import Policy, PolicyState, decide, init_policy
from optax_lookbehind._core.tree import add, as_accumulator, scalar_dtype, scale, sub
from optax_lookbehind._core.types import AxisName, GradFn


class MultistepState(NamedTuple):
    """State of :func:`multistep`.

    Attributes:
      perturbation_state: state of the perturbation rule.
      combination_state: state of the combination, None without one.
      policy_state: a :class:`PolicyState`, None without a policy.
      perturbed_losses: the losses at the k perturbed points of the last sharpness-aware step, if
        ``grad_fn`` returns :class:`ValueAndGrads`; else zeros, shape (k,), float32 or wider. Read
        them with ``optax.tree.get(state, "perturbed_losses")``.
    """

    perturbation_state: optax.OptState
    combination_state: Any
    policy_state: PolicyState | None
    perturbed_losses: jax.Array


def multistep(
    perturbation: optax.GradientTransformation,
    k: int = 1,
    *,
    average: bool = False,
    combine: Combination | None = None,
    policy: Policy | None = None,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""Replaces the gradient with the one evaluated after ``k`` ascent steps.

    .. math::
      p_0 = w, \qquad p_i = p_{i-1} + e(g_{i-1}), \qquad g_i = \nabla L(p_i)

    and emits :math:`g_k`, or with ``average`` the mean of :math:`g_1 \dots g_k`. ``k=1`` is SAM.
    It goes in front of any Optax optimizer. Change this::

      tx = optax.sgd(0.1)
      ...
      loss, grads = jax.value_and_grad(loss_fn)(params, batch)
      updates, state = tx.update(grads, state, params)

    To::

      tx = optax.chain(multistep(sam_perturbation(rho=0.05), k=2), optax.sgd(0.1))
      ...
      loss, grads, grad_fn = value_and_grad(loss_fn)(params, batch)
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    :func:`value_and_grad` makes the gradient and ``grad_fn`` from one loss function. Or write
    ``grad_fn(params, i)`` yourself: it returns the gradient of the loss at ``params``; ``i``, an
    int32 scalar from 0, is the inner step: ignore it to stay on one minibatch. ``grads`` is
    ``grad_fn(params, 0)``: loss, metrics and BatchNorm statistics stay those of this clean pass,
    and those of the perturbed passes are discarded.

    A step costs ``k + 1`` gradients, the caller's included; a policy's plain step costs one.

    Args:
      perturbation: a rule that maps a gradient to the perturbation e, such as
        :func:`sam_perturbation`.
      k: number of ascent steps, >= 1.
      average: whether to emit the mean of the perturbed gradients instead of the last.
      combine: a :class:`Combination` of the plain and the perturbed gradient, such as
        ``surrogate_gap(0.4)``, whose result is emitted; None emits the perturbed gradient.
      policy: a :class:`Policy`, such as ``adaptive_policy(total_steps)``: on which steps to be
        sharpness-aware. On the others, the plain steps, the gradient itself is emitted, averaged
        over the devices (with :func:`reuse_direction`, the last sharp direction added). Where the
        decision is known before the step, ``update(..., apply=True)`` or ``apply=False``, a
        Python bool, takes the place of the policy's: one program for each, without a branch. None
        is sharpness-aware on every step.
      axis_name: the mapped axis under ``jax.shard_map``, ``jax.pmap`` or ``jax.vmap`` over which
        this transformation averages gradients; pass each device's own gradient, see
        :func:`per_device_params`. None where one program sees the whole batch.
      sync_perturbation: whether the ascent, too, follows the averaged gradient. False perturbs each
        device on its own batch (m-sharpness); the only average over the devices is then that of
        the emitted gradient (and, under a policy, of the plain one).

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient in the dtypes of the
      one it gets.

    Raises:
      ValueError: if ``k`` is not an integer >= 1, or ``combine`` or ``policy`` is of another type;
        in ``init`` if ``perturbation`` is ``optax.masked``, or ``params`` are masked; in ``update``
        if ``params`` or ``grad_fn`` is missing, or a gradient does not have the structure and
        shapes of ``params``.

    References:
      Foret et al., `Sharpness-Aware Minimization <https://arxiv.org/abs/2010.01412>`_, 2021;
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, 2024, section 4.1
      (Multistep-SAM).
    """
    k = check_count("k", k)
    check_type("combine", combine, Combination, "surrogate_gap(0.4) or combination(fn)")
    check_type("policy", policy, Policy, "adaptive_policy(total_steps)")
    check_devices(axis_name, sync_perturbation)

    def init_fn(params: optax.Params) -> MultistepState:
        params = fast_params(params)
        return MultistepState(
            perturbation_state=init_perturbation(perturbation, params),
            combination_state=None if combine is None else combine.init(params),
            policy_state=init_policy(policy, params),
            perturbed_losses=jnp.zeros([k], scalar_dtype(params)),
        )

    def update_fn(
        updates: optax.Updates,
        state: MultistepState,
        params: optax.Params | None = None,
        *,
        grad_fn: GradFn | None = None,
        apply: bool | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, MultistepState]:
        del extra_args
        gradient = gradients_of(updates, params, grad_fn, axis_name, sync_perturbation)
        sharp_step, policy_state = decide(policy, state.policy_state, gradient.shared, apply)

        def inner_step(carry: Any, i: jax.Array) -> Any:
            p, g, total = carry
            # p_i = p_{i-1} + e(g_{i-1}), then g_i, the gradient there.
            p = ascent_step(perturbation, state.perturbation_state, p, g)
            loss, g = gradient.at(p, i)
            if average:
                total = optax.tree.cast_like(add(total, g), total)  # g_1 + ... + g_i
            return (p, g, total), loss

        def sharp() -> tuple[optax.Updates, Any, jax.Array]:
            zeros = optax.tree.zeros_like(as_accumulator(gradient.p_0)) if average else None
            carry = (gradient.p_0, gradient.g_0, zeros)
            losses: Any = []
            if k == 1 or gradient.eager:  # no loop to compile
                for i in range(k):
                    carry, loss = inner_step(carry, jnp.int32(i))
                    losses.append(loss)
            else:
                carry, loss = jax.lax.scan(
                    inner_step, carry, jnp.arange(k, dtype=jnp.int32), unroll=ascent.unroll
                )
                losses.append(loss)
            p_k, g, total = carry
            # g_k, or the mean of g_1 ... g_k: Multistep-SAM of section 4.1, (i) and (ii).
            perturbed = scale(1 / k, total) if average else g
            moved = displacement(p_k)
            emitted, combination_state = combined(gradient.g_0, perturbed, moved)
            if not sync_perturbation:
                # Devices combine their own gradients and emit the mean. The state, the same on all,
                # follows the averaged gradients; XLA drops the unused half of each call.
                averaged = gradient.mean((perturbed, moved))
                _, combination_state = combined(gradient.shared, *averaged)
            emitted, *losses = gradient.mean((emitted, *losses))
            losses = next_losses(losses, state.perturbed_losses)
            return optax.tree.cast_like(emitted, updates), combination_state, losses

        def plain() -> tuple[optax.Updates, Any, jax.Array]:
            emitted, combination_state = combined(gradient.shared, None)
            emitted = optax.tree.cast_like(emitted, updates)
            return emitted, combination_state, state.perturbed_losses

        def displacement(p_k: optax.Params) -> Any:
            if combine is None or not combine.uses_displacement:
                return None
            # p_k - w, in float32 or wider.
            return sub(as_accumulator(p_k), as_accumulator(gradient.p_0))

        def combined(clean: Any, perturbed: Any, moved: Any = None) -> tuple[optax.Updates, Any]:
            if combine is None:  # SAM: g_s itself, and g on a plain step
                return clean if perturbed is None else perturbed, None
            more = (moved,) if combine.uses_displacement else ()
            return combine.combine(state.combination_state, clean, perturbed, *more)

        # One branch at run time, so that a plain step costs one gradient.
        if is_traced(sharp_step):
            step = jax.lax.cond(sharp_step, sharp, plain)
        else:
            step = sharp() if sharp_step else plain()
        emitted, combination_state, losses = step
        return emitted, MultistepState(
            perturbation_state=advance_state(
                perturbation, state.perturbation_state, gradient.shared, params
            ),
            combination_state=combination_state,
            policy_state=policy_state,
            perturbed_losses=losses,
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
