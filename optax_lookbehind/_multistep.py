"""Multistep ascent: descend along the gradient at the perturbed weights. One step is SAM."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.ascent import (
    advance_state,
    ascent_step,
    bind_gradient,
    fast_params,
    run_inner_steps,
)
from optax_lookbehind._core.checks import (
    check_count,
    check_devices,
    check_flag,
    check_state,
    check_transformation,
)
from optax_lookbehind._core.protocol import init_perturbation
from optax_lookbehind._core.tree import add, as_accumulator, scale
from optax_lookbehind._core.types import AveragedGradient, AxisName, GradFn


class MultistepState(NamedTuple):
    """State of :func:`multistep`.

    Attributes:
      perturbation_state: state of the perturbation rule.
      combination_state: state of the combination, None without one.
    """

    perturbation_state: optax.OptState
    combination_state: optax.OptState | None = None

    @property
    def emits_gradient(self) -> bool:
        """Always true."""
        return True


def multistep(
    perturbation: optax.GradientTransformation,
    k: int = 1,
    *,
    average: bool = False,
    combine: optax.GradientTransformation | None = None,
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
      updates, state = tx.update(grads, state, params)

    To::

      tx = optax.chain(multistep(sam_perturbation(rho=0.05), k=2), optax.sgd(0.1))
      ...
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    where ``grad_fn(params, i)`` returns the gradient of the loss at ``params``; ``i``, an int32
    scalar from 0, is the inner step: ignore it to stay on one minibatch. ``grads`` is
    ``grad_fn(params, 0)``: loss, metrics and BatchNorm statistics stay those of this clean pass,
    and those of the perturbed passes are discarded.

    A step costs ``k + 1`` gradients, the caller's included.

    Args:
      perturbation: a rule that maps a gradient to the perturbation e, such as
        :func:`sam_perturbation`.
      k: number of ascent steps, >= 1.
      average: whether to emit the mean of the perturbed gradients instead of the last.
      combine: a combination of the plain and the perturbed gradient, such as ``combination(fn)``
        (see :func:`combination`), whose result is emitted; None emits the perturbed gradient.
      axis_name: the mapped axis under ``jax.shard_map``, ``jax.pmap`` or ``jax.vmap`` over which
        this transformation averages gradients; pass each device's own gradient, see
        :func:`per_device_params`. None where one program sees the whole batch.
      sync_perturbation: whether the ascent, too, follows the averaged gradient. False perturbs each
        device on its own batch (m-sharpness); the only average over the devices is then that of
        the emitted gradient.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient in the dtypes of the
      one it gets.

    Raises:
      ValueError: if ``k`` is not an integer >= 1; in ``init`` if ``perturbation`` is a whole method
        or ``optax.masked``, or ``params`` are masked; in ``update`` if ``params`` or ``grad_fn``
        is missing, or a gradient does not have the structure and shapes of ``params``.

    References:
      Foret et al., `Sharpness-Aware Minimization <https://arxiv.org/abs/2010.01412>`_, 2021;
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, 2024, section 4.1
      (Multistep-SAM).
    """
    check_transformation("perturbation", perturbation)
    k = check_count("k", k)
    check_flag("average", average)
    check_devices(axis_name, sync_perturbation)
    if combine is not None:
        check_transformation("combine", combine, " Wrap a function in combination(fn).")
        combine = optax.with_extra_args_support(combine)

    def init_fn(params: optax.Params) -> MultistepState:
        params = fast_params(params)
        combination_state = None if combine is None else combine.init(params)
        return MultistepState(init_perturbation(perturbation, params), combination_state)

    def update_fn(
        updates: optax.Updates,
        state: MultistepState,
        params: optax.Params | None = None,
        *,
        grad_fn: GradFn | None = None,
        sharpness_aware: bool = True,
        averaged: AveragedGradient | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, MultistepState]:
        check_state(state, MultistepState)
        if not sharpness_aware:  # a policy's plain step
            return updates, next_state(state, updates, updates, params)
        gradient = bind_gradient(
            updates,
            params,
            grad_fn,
            axis_name=axis_name,
            sync_perturbation=sync_perturbation,
            averaged=averaged,
        )

        def inner_step(carry: Any, i: jax.Array) -> Any:
            p, g, total = carry
            # p_i = p_{i-1} + e(g_{i-1}); and g_i, the gradient at p_i.
            p, g = ascent_step(perturbation, state.perturbation_state, gradient, p, g, i)
            if average:
                total = optax.tree.cast_like(add(total, g), total)  # g_1 + ... + g_i
            return p, g, total

        zeros = optax.tree.zeros_like(as_accumulator(gradient.p_0)) if average else None
        carry = (gradient.p_0, gradient.g_0, zeros)
        _, g, total = run_inner_steps(inner_step, carry, jnp.arange(k, dtype=jnp.int32))
        perturbed = scale(1 / k, total) if average else g
        emitted = perturbed
        if combine is not None:  # on each device, before the average
            clean, combination_state = gradient.g_0, state.combination_state
            emitted, _ = combine.update(perturbed, combination_state, gradient.p_0, clean=clean)
        emitted = optax.tree.cast_like(gradient.mean(emitted), updates)
        return emitted, next_state(state, gradient.shared, gradient.mean(perturbed), params)

    def next_state(
        state: MultistepState, clean: Any, perturbed: Any, params: optax.Params | None
    ) -> MultistepState:
        """Advances both states by one training step, with gradients that all devices share."""
        params = fast_params(params)
        combination_state = state.combination_state
        if combine is not None:
            _, combination_state = combine.update(perturbed, combination_state, params, clean=clean)
        return MultistepState(
            advance_state(perturbation, state.perturbation_state, clean, params), combination_state
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
