"""Lookbehind (Mordido et al., 2024): k ascent steps back, one interpolation step forward."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._alpha import (
    adaptive_alpha,
    check_alpha,
    finite_alpha,
    initial_alpha,
    scheduled_alpha,
)
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
from optax_lookbehind._core.tree import add, apply_updates, as_accumulator, scale, scale_by
from optax_lookbehind._core.types import Alpha, AveragedGradient, AxisName, GradFn


class LookbehindState(NamedTuple):
    """State of :func:`lookbehind`.

    Attributes:
      step: number of training steps taken, int32, for a scheduled alpha.
      alpha: the alpha last used (before the first step: the first one, or 1 if adaptive): a
        scalar, or for ``"adaptive_per_tensor"`` a vector in the order of
        ``jax.tree.leaves(params)``. Read it with ``optax.tree.get(state, "alpha")``.
      perturbation_state: state of the perturbation rule.
      fast_state: state of ``fast_optimizer``, None without one.
    """

    step: jax.Array
    alpha: jax.Array
    perturbation_state: optax.OptState
    fast_state: optax.OptState | None

    @property
    def emits_gradient(self) -> bool:
        """False with ``fast_optimizer``: the result is then the final update."""
        return self.fast_state is None


def lookbehind(
    perturbation: optax.GradientTransformation,
    k: int,
    alpha: Alpha,
    *,
    fast_optimizer: optax.GradientTransformation | None = None,
    switch_minibatch: bool = False,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""Descends along the gradients of ``k`` ascent steps, then interpolates by ``alpha``.

    Lookbehind's Algorithm 1, with slow weights :math:`w`, perturbed weights :math:`p` and fast
    weights :math:`f` (in the paper :math:`\phi_t`, :math:`\phi'_{t,i}` and :math:`\phi_{t,i}`):

    .. math::
      \begin{align*}
        p_0 &= f_0 = w \\
        p_i &= p_{i-1} + e(g_{i-1}), \qquad g_i = \nabla L(p_i) \\
        f_i &= f_{i-1} - \eta \, g_i \qquad (i = 1 \dots k) \\
        w &\leftarrow w + \alpha (f_k - w)
      \end{align*}

    In front of an optimizer it emits :math:`\alpha \sum_i g_i`. Change this::

      tx = optax.sgd(0.1)
      ...
      updates, state = tx.update(grads, state, params)

    To::

      tx = optax.chain(
          lookbehind(sam_perturbation(rho=0.05), k=5, alpha=0.5), optax.sgd(0.1 / (5 * 0.5))
      )
      ...
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    which is Algorithm 1 exactly. A step is about :math:`k \alpha` times as long as one of the
    optimizer alone, so start from its learning rate divided by :math:`k \alpha` (by ``k`` for an
    adaptive alpha, which is at most 1), or tune the rate anew.

    ``grad_fn(params, i)`` returns the gradient of the loss at ``params``; ``i``, an int32 scalar
    from 0, is the inner step. ``grads`` is
    ``grad_fn(params, 0)``: loss, metrics and BatchNorm statistics stay those of this clean pass.

    With ``fast_optimizer`` that optimizer, its momentum and weight decay included, moves the fast
    weights in every inner step; its state is carried from step to step. The result is then the
    final update, :math:`\alpha (f_k - w)`, and nothing is chained behind it. This is what the
    authors' code does; the step is again about :math:`k \alpha` times the optimizer's own::

      tx = lookbehind(
          sam_perturbation(rho=0.05), k=5, alpha=0.5,
          fast_optimizer=optax.chain(
              optax.add_decayed_weights(5e-4), optax.sgd(0.1 / (5 * 0.5), momentum=0.9)
          ),
      )

    A step costs ``k + 1`` gradients, the caller's included (the authors' code: ``2k``): the one
    at :math:`p_i` serves the descent of step i and the ascent of step i+1.

    Args:
      perturbation: a rule that maps a gradient to the perturbation e, such as
        :func:`sam_perturbation` or :func:`asam_perturbation`.
      k: number of ascent steps, >= 1. The emitted gradient is about ``k * alpha`` times a plain
        one.
      alpha: the slow step size. A number in (0, 1]; an Optax schedule; ``"adaptive"``,
        :math:`(\cos\theta + 1) / 2` with :math:`\theta` between the first and the whole fast step,
        :math:`f_1 - w` and :math:`f_k - w`, over the whole model (equations 7 and 8; without
        ``fast_optimizer`` between :math:`g_1` and :math:`\sum g_i`, the same angle for SGD); or
        ``"adaptive_per_tensor"``, the same for each leaf separately, as the authors' code does. A
        zero vector counts as :math:`\cos\theta = 0`.
      fast_optimizer: any Optax optimizer, for the fast weights.
      switch_minibatch: whether inner step i runs on minibatch i, ascent and descent (section 6.2):
        ``grad_fn`` should index its batches with ``i``. No gradient can then be reused: ``2k``
        gradients per step.
      axis_name: the mapped axis under ``jax.shard_map``, ``jax.pmap`` or ``jax.vmap`` over which
        this transformation averages gradients; pass each device's own gradient, see
        :func:`per_device_params`. None where one program sees the whole batch.
      sync_perturbation: whether the ascent, too, follows the averaged gradient. False perturbs each
        device on its own batch (m-sharpness); gradients are then averaged only for the descent.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`. It emits a gradient, or with
      ``fast_optimizer`` the final update, in the dtypes of the gradient it gets.

    Raises:
      ValueError: if ``k`` is not an integer >= 1 or ``alpha`` is none of the above; in ``init`` if
        ``perturbation`` is a whole method or ``optax.masked``, or ``params`` are masked; in
        ``update`` if ``params`` or ``grad_fn`` is missing, or a gradient does not have the
        structure and shapes of ``params``.

    References:
      Mordido et al., `Lookbehind-SAM: k steps back, 1 step forward
      <https://arxiv.org/abs/2307.16704>`_, ICML 2024, Algorithm 1 and section 3.
    """
    check_transformation("perturbation", perturbation)
    k = check_count("k", k)
    check_alpha(alpha)
    check_flag("switch_minibatch", switch_minibatch)
    check_devices(axis_name, sync_perturbation)
    if fast_optimizer is not None:
        check_transformation("fast_optimizer", fast_optimizer)
        fast_optimizer = optax.with_extra_args_support(fast_optimizer)
    adaptive = isinstance(alpha, str)

    def init_fn(params: optax.Params) -> LookbehindState:
        params = fast_params(params)
        return LookbehindState(
            step=jnp.zeros([], jnp.int32),
            alpha=initial_alpha(alpha, params),
            perturbation_state=init_perturbation(perturbation, params),
            fast_state=None if fast_optimizer is None else fast_optimizer.init(params),
        )

    def update_fn(
        updates: optax.Updates,
        state: LookbehindState,
        params: optax.Params | None = None,
        *,
        grad_fn: GradFn | None = None,
        sharpness_aware: bool = True,
        averaged: AveragedGradient | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, LookbehindState]:
        check_state(state, LookbehindState)
        if not sharpness_aware:
            return plain_step(updates, state, params)
        gradient = bind_gradient(
            updates,
            params,
            grad_fn,
            axis_name=axis_name,
            sync_perturbation=sync_perturbation,
            averaged=averaged,
        )
        # In front of optax.lookahead, Lookbehind's slow weights are Lookahead's fast ones.
        w = fast_params(params)

        def fast_step(g: Any, delta: Any, fast_state: Any) -> tuple[Any, Any]:
            """Returns ``f_i - f_{i-1}``, for SGD -eta g_i, and the optimizer's next state."""
            if fast_optimizer is None:
                return g, None  # the optimizer chained behind applies -eta, to the sum of all g_i
            f = apply_updates(w, delta)  # f_{i-1}
            step, new_state = fast_optimizer.update(gradient.mean(g), fast_state, f, **extra_args)
            return step, optax.tree.cast_like(new_state, fast_state)

        def inner_step(carry: Any, i: jax.Array) -> Any:
            p, g, delta, first, fast_state = carry
            # Algorithm 1, lines 6 and 7: p_i = p_{i-1} + e(g_{i-1}); and g_i, the gradient at p_i.
            p, g = ascent_step(perturbation, state.perturbation_state, gradient, p, g, i)
            # Line 8: f_i = f_{i-1} - eta g_i.
            step, fast_state = fast_step(g, delta, fast_state)
            delta = optax.tree.cast_like(add(delta, step), delta)
            # delta is now f_i - w, or g_1 + ... + g_i without fast_optimizer.
            if adaptive:
                first = optax.tree.where(i == 0, delta, first)
            return p, g, delta, first, fast_state

        def inner_step_on_own_minibatch(carry: Any, i: jax.Array) -> Any:
            p, _, *descent = carry
            g = gradient.perturbed(p, i)  # for line 6: the carried g is on the last minibatch
            return inner_step((p, g, *descent), i)

        zeros = optax.tree.zeros_like(as_accumulator(gradient.p_0 if fast_optimizer is None else w))
        carry = (gradient.p_0, gradient.g_0, zeros, zeros if adaptive else None, state.fast_state)
        inner_steps = jnp.arange(k, dtype=jnp.int32)  # line 5, counted from 0
        if switch_minibatch:
            carry = inner_step(carry, inner_steps[0])  # the caller's gradient is on minibatch 0
            carry = run_inner_steps(inner_step_on_own_minibatch, carry, inner_steps[1:])
        else:
            carry = run_inner_steps(inner_step, carry, inner_steps)
        _, _, delta, first, fast_state = carry
        if fast_optimizer is None:  # the sum of the device's own gradients: one average for all k
            delta, first = gradient.mean((delta, first))

        if adaptive:
            alpha_t = adaptive_alpha(alpha, first, delta)
        else:
            alpha_t = scheduled_alpha(alpha, state.step, w)
        # Line 10: w <- w + alpha (f_k - w).
        updates = optax.tree.cast_like(scale_by(alpha_t, delta), updates)
        return updates, LookbehindState(
            step=optax.safe_increment(state.step),
            alpha=finite_alpha(optax.tree.cast_like(alpha_t, state.alpha), state.alpha),
            perturbation_state=advance_state(
                perturbation, state.perturbation_state, gradient.shared, w
            ),
            fast_state=fast_state,
        )

    def plain_step(
        updates: optax.Updates, state: LookbehindState, params: optax.Params | None
    ) -> tuple[optax.Updates, LookbehindState]:
        # A policy's plain step: k * alpha times the gradient, about as long as a Lookbehind step.
        alpha_t = state.alpha if adaptive else scheduled_alpha(alpha, state.step, updates)
        plain = scale(k, scale_by(alpha_t, as_accumulator(updates)))
        return optax.tree.cast_like(plain, updates), state._replace(
            step=optax.safe_increment(state.step),
            alpha=optax.tree.cast_like(alpha_t, state.alpha),
            perturbation_state=advance_state(
                perturbation, state.perturbation_state, updates, params
            ),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
