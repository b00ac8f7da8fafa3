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
from optax_lookbehind._core.tree import (
    add,
    apply_updates,
    as_accumulator,
    scalar_dtype,
    scale,
    scale_by,
)
from optax_lookbehind._core.types import Alpha, AxisName, GradFn

_NO_PLAIN_STEP = """\
lookbehind with fast_optimizer emits the final update and so has no plain step: {argument} needs \
fast_optimizer=None, with the optimizer chained behind, as in \
optax.chain(lookbehind(sam_perturbation(rho), k, alpha, policy=adaptive_policy(total_steps)), \
optax.sgd(learning_rate))."""


class LookbehindState(NamedTuple):
    """State of :func:`lookbehind`.

    Attributes:
      step: number of training steps taken, int32, for a scheduled alpha.
      alpha: the alpha last used (before the first step: the first one, or 1 if adaptive): a
        scalar, or for ``"adaptive_per_tensor"`` a vector in the order of
        ``jax.tree.leaves(params)``. Read it with ``optax.tree.get(state, "alpha")``.
      perturbation_state: state of the perturbation rule.
      fast_state: state of ``fast_optimizer``, None without one.
      policy_state: a :class:`PolicyState`, None without a policy.
      perturbed_losses: the losses at the k perturbed points of the last sharpness-aware step, as in
        :class:`MultistepState`.
    """

    step: jax.Array
    alpha: jax.Array
    perturbation_state: optax.OptState
    fast_state: optax.OptState | None
    policy_state: PolicyState | None
    perturbed_losses: jax.Array


def lookbehind(
    perturbation: optax.GradientTransformation,
    k: int,
    alpha: Alpha,
    *,
    fast_optimizer: optax.GradientTransformation | None = None,
    switch_minibatch: bool = False,
    policy: Policy | None = None,
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
      loss, grads = jax.value_and_grad(loss_fn)(params, batch)
      updates, state = tx.update(grads, state, params)

    To::

      tx = optax.chain(
          lookbehind(sam_perturbation(rho=0.05), k=5, alpha=0.5), optax.sgd(0.1 / (5 * 0.5))
      )
      ...
      loss, grads, grad_fn = value_and_grad(loss_fn)(params, batch)
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    which is Algorithm 1 exactly. A step is about :math:`k \alpha` times as long as one of the
    optimizer alone, so start from its learning rate divided by :math:`k \alpha` (by ``k`` for an
    adaptive alpha, which is at most 1), or tune the rate anew.

    :func:`multistep` says how to write ``grad_fn`` yourself.

    With ``fast_optimizer`` that optimizer, its momentum and weight decay included, moves the fast
    weights in every inner step; its state is carried from step to step. The result is then the
    final update, :math:`\alpha (f_k - w)`, and nothing is chained behind it, as in the authors'
    code::

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
      k: number of ascent steps, >= 1.
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
      policy: a :class:`Policy`: on which steps to be sharpness-aware; see :func:`multistep`. The
        others emit ``k * alpha`` times the averaged gradient, about as long as a Lookbehind step,
        with the alpha last used if it is adaptive. Not together with ``fast_optimizer``.
      axis_name: the mapped axis to average over; see :func:`multistep`.
      sync_perturbation: whether the ascent, too, follows the averaged gradient; see
        :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`. It emits a gradient, or with
      ``fast_optimizer`` the final update, in the dtypes of the gradient it gets.

    Raises:
      ValueError: if ``k`` is not an integer >= 1, ``alpha`` or ``policy`` is none of the above, or
        both ``fast_optimizer`` and ``policy`` are given; in ``init`` if ``perturbation`` is
        ``optax.masked``, or ``params`` are masked; in ``update`` if ``params`` or ``grad_fn`` is
        missing, or a gradient does not have the structure and shapes of ``params``.

    References:
      Mordido et al., `Lookbehind-SAM: k steps back, 1 step forward
      <https://arxiv.org/abs/2307.16704>`_, ICML 2024, Algorithm 1 and section 3.
    """
    k = check_count("k", k)
    check_alpha(alpha)
    check_type("policy", policy, Policy, "adaptive_policy(total_steps)")
    check_devices(axis_name, sync_perturbation)
    if fast_optimizer is not None:
        if policy is not None:
            raise ValueError(_NO_PLAIN_STEP.format(argument=f"policy={policy!r}"))
        fast_optimizer = optax.with_extra_args_support(fast_optimizer)
    adaptive = isinstance(alpha, str)

    def init_fn(params: optax.Params) -> LookbehindState:
        params = fast_params(params)
        return LookbehindState(
            step=jnp.zeros([], jnp.int32),
            alpha=initial_alpha(alpha, params),
            perturbation_state=init_perturbation(perturbation, params),
            fast_state=None if fast_optimizer is None else fast_optimizer.init(params),
            policy_state=init_policy(policy, params),
            perturbed_losses=jnp.zeros([k], scalar_dtype(params)),
        )

    def update_fn(
        updates: optax.Updates,
        state: LookbehindState,
        params: optax.Params | None = None,
        *,
        grad_fn: GradFn | None = None,
        apply: bool | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, LookbehindState]:
        if fast_optimizer is not None and apply is False:
            raise ValueError(_NO_PLAIN_STEP.format(argument="apply=False"))
        gradient = gradients_of(updates, params, grad_fn, axis_name, sync_perturbation)
        sharp_step, policy_state = decide(policy, state.policy_state, gradient.shared, apply)
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
            # Algorithm 1, lines 6 and 7: p_i = p_{i-1} + e(g_{i-1}).
            p = ascent_step(perturbation, state.perturbation_state, p, g)
            # Line 8: f_i = f_{i-1} - eta g_i, with g_i the gradient at p_i, which serves line 6 of
            # the next inner step, too.
            loss, g = gradient.at(p, i)
            step, fast_state = fast_step(g, delta, fast_state)
            delta = optax.tree.cast_like(add(delta, step), delta)
            # delta is now f_i - w, or g_1 + ... + g_i without fast_optimizer.
            if adaptive:  # f_1 - w, for equation 8
                first = optax.tree.where(i == 0, delta, first)
            return (p, g, delta, first, fast_state), loss

        def inner_step_on_own_minibatch(carry: Any, i: jax.Array) -> Any:
            p, _, *descent = carry
            _, g = gradient.at(p, i)  # for line 6: the carried g is on the last minibatch
            return inner_step((p, g, *descent), i)

        def sharp() -> tuple[optax.Updates, jax.Array, Any, jax.Array]:
            # Lines 2 and 3: f_0 = p_0 = w. (Line 4, the minibatch, is the caller's.)
            start = gradient.p_0 if fast_optimizer is None else w
            zeros = optax.tree.zeros_like(as_accumulator(start))
            first = zeros if adaptive else None
            carry = (gradient.p_0, gradient.g_0, zeros, first, state.fast_state)
            # Lines 5 to 9: the inner steps, from 0. With switch_minibatch the first one differs:
            # the caller's gradient is on minibatch 0. The rest is a loop, if more than one step.
            later_step = inner_step_on_own_minibatch if switch_minibatch else inner_step
            direct = int(switch_minibatch)
            if k - direct <= 1 or gradient.eager:
                direct = k
            losses: Any = []
            for i in range(direct):
                step = inner_step if i == 0 else later_step
                carry, loss = step(carry, jnp.int32(i))
                losses.append(loss)
            if direct < k:
                inner_steps = jnp.arange(direct, k, dtype=jnp.int32)
                carry, loss = jax.lax.scan(later_step, carry, inner_steps, unroll=ascent.unroll)
                losses.append(loss)
            _, _, delta, first, fast_state = carry
            if fast_optimizer is None:  # the device's own sums: one average for all k gradients
                delta, first, *losses = gradient.mean((delta, first, *losses))
            else:
                losses = gradient.mean(losses)
            if adaptive:  # equations 7 and 8
                alpha_t = adaptive_alpha(alpha, first, delta)
            else:
                alpha_t = scheduled_alpha(alpha, state.step, w)
            # Line 10: w <- w + alpha (f_k - w).
            emitted = optax.tree.cast_like(scale_by(alpha_t, delta), updates)
            kept_alpha = finite_alpha(optax.tree.cast_like(alpha_t, state.alpha), state.alpha)
            return emitted, kept_alpha, fast_state, next_losses(losses, state.perturbed_losses)

        def plain() -> tuple[optax.Updates, jax.Array, Any, jax.Array]:
            # k * alpha times the gradient: about as long as a Lookbehind step.
            alpha_t = state.alpha if adaptive else scheduled_alpha(alpha, state.step, w)
            emitted = scale(k, scale_by(alpha_t, as_accumulator(gradient.shared)))
            emitted = optax.tree.cast_like(emitted, updates)
            alpha_t = optax.tree.cast_like(alpha_t, state.alpha)
            return emitted, alpha_t, state.fast_state, state.perturbed_losses

        # One branch at run time, so that a plain step costs one gradient.
        if is_traced(sharp_step):
            step = jax.lax.cond(sharp_step, sharp, plain)
        else:
            step = sharp() if sharp_step else plain()
        emitted, alpha_t, fast_state, losses = step
        return emitted, LookbehindState(
            step=optax.safe_increment(state.step),
            alpha=alpha_t,
            perturbation_state=advance_state(
                perturbation, state.perturbation_state, gradient.shared, w
            ),
            fast_state=fast_state,
            policy_state=policy_state,
            perturbed_losses=losses,
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
