"""Lookbehind: k ascent steps behind, fast and slow weights, one step forward."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._alpha import (
    Alpha,
    adaptive_alpha,
    check_alpha,
    given_alpha,
    initial_alpha,
    is_adaptive,
)
from optax_lookbehind._arguments import (
    check_count,
    check_devices,
    check_flag,
    check_transformation,
)
from optax_lookbehind._ascent import GradFn, ascend, fast_params, next_state, pose
from optax_lookbehind._devices import AxisName
from optax_lookbehind._perturbation import Mask, asam_perturbation, sam_perturbation
from optax_lookbehind._tree import accumulable, scale_by


class LookbehindState(NamedTuple):
    """State of :func:`lookbehind`.

    Attributes:
      count: number of training steps taken, int32, for a scheduled alpha.
      alpha: the alpha last used (before the first step: the first one, or 1 if adaptive): a
        scalar, or for ``"adaptive_per_tensor"`` one per leaf. Read it with
        ``optax.tree.get(state, "alpha")``.
      perturbation_state: state of the perturbation rule.
      fast_state: state of ``fast_optimizer``, None without one.
    """

    count: jax.Array  # type: ignore[assignment]  # as in optax: hides tuple.count
    alpha: Any
    perturbation_state: optax.OptState
    fast_state: optax.OptState | None


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
    r"""Collects the gradients along ``k`` ascent steps and goes a share ``alpha`` of their way.

    Lookbehind's Algorithm 1, with slow weights :math:`w` and fast weights :math:`f`:

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
          lookbehind(sam_perturbation(rho=0.05), k=5, alpha="adaptive"), optax.sgd(0.1)
      )
      ...
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    which is Algorithm 1 exactly. ``grad_fn(params, i)`` returns the gradient of the loss at
    ``params``; ``i``, an int32 scalar from 0, is the inner step. ``grads`` is
    ``grad_fn(params, 0)``: loss, metrics and BatchNorm statistics stay those of this clean pass.

    With ``fast_optimizer`` that optimizer, its momentum and weight decay included, moves the fast
    weights in every inner step; its state is carried from step to step. The result is then the
    final update, :math:`\alpha (f_k - w)`, and nothing is chained behind it. This is what the
    authors' code does::

      tx = lookbehind(
          sam_perturbation(rho=0.05), k=5, alpha="adaptive",
          fast_optimizer=optax.chain(
              optax.add_decayed_weights(5e-4), optax.sgd(0.1, momentum=0.9)
          ),
      )

    A step costs ``k + 1`` gradients, the caller's included (the authors' code: ``2k``): the one
    at :math:`p_i` serves the descent of step i and the ascent of step i+1.

    Args:
      perturbation: gradient to perturbation: :func:`sam_perturbation` or
        :func:`asam_perturbation` for instance.
      k: number of ascent steps, >= 1. What is emitted is about ``k * alpha`` times a plain
        gradient.
      alpha: the slow step size. A number in (0, 1]; an Optax schedule; ``"adaptive"``,
        :math:`(\cos\theta + 1) / 2` with :math:`\theta` between the first and the whole fast step,
        :math:`f_1 - w` and :math:`f_k - w`, over the whole model (equations 7 and 8; without
        ``fast_optimizer`` between :math:`g_1` and :math:`\sum g_i`, the same angle for SGD); or
        ``"adaptive_per_tensor"``, the same for each leaf alone, as the authors' code does. A zero
        vector counts as :math:`\cos\theta = 0`.
      fast_optimizer: any Optax optimizer, for the fast weights.
      switch_minibatch: whether inner step i runs on minibatch i, ascent and descent:
        ``grad_fn`` should index its batches with ``i``. Nothing can be shared: ``2k`` gradients.
      axis_name: the mapped axis under ``jax.shard_map``, ``jax.pmap`` or ``jax.vmap`` over which
        gradients are averaged; None where one program sees the whole batch.
      sync_perturbation: whether the ascent, too, follows the averaged gradient. False perturbs each
        device on its own batch (m-sharpness) and saves one all-reduce.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`. It emits a gradient, or with
      ``fast_optimizer`` the final update, in the dtypes of the gradient it gets.

    Raises:
      ValueError: if ``k`` is not an integer >= 1 or ``alpha`` none of the above; in ``update`` if
        ``params`` or ``grad_fn`` is missing, or a gradient does not have the structure and shapes
        of ``params``.

    References:
      Mordido et al., `Lookbehind-SAM: k steps back, 1 step forward
      <https://arxiv.org/abs/2307.16704>`_, ICML 2024, Algorithm 1 and section 3.
    """
    check_transformation("perturbation", perturbation)
    k = check_count("k", k)
    check_alpha(alpha)
    check_flag("switch_minibatch", switch_minibatch)
    check_devices(axis_name, sync_perturbation)
    # Without an optimizer of their own the fast weights move by the gradient itself, to be scaled
    # by whatever is chained behind.
    fast = optax.identity()
    if fast_optimizer is not None:
        check_transformation("fast_optimizer", fast_optimizer)
        fast = fast_optimizer
    fast = optax.with_extra_args_support(fast)

    def init_fn(params: optax.Params) -> LookbehindState:
        params = fast_params(params)
        return LookbehindState(
            count=jnp.zeros([], jnp.int32),
            alpha=initial_alpha(alpha, params),
            perturbation_state=perturbation.init(params),
            fast_state=None if fast_optimizer is None else fast.init(params),
        )

    def update_fn(
        updates: optax.Updates,
        state: LookbehindState,
        params: optax.Params | None = None,
        *,
        grad_fn: GradFn | None = None,
        sharpness_aware: bool = True,
        **extra_args: Any,
    ) -> tuple[optax.Updates, LookbehindState]:
        if not sharpness_aware:
            return without_ascent(updates, state, params)
        problem = pose(updates, params, grad_fn, axis_name, sync_perturbation, extra_args)
        slow = fast_params(params)

        def descend(carry: Any, grads: optax.Updates, i: jax.Array) -> Any:
            total, first, fast_state = carry  # total = f_i - w, so that f_0 = w
            at = optax.apply_updates(slow, total)
            move, new_state = fast.update(problem.descent(grads), fast_state, at, **extra_args)
            fast_state = optax.tree.cast_like(new_state, fast_state)
            total = optax.tree.cast_like(optax.tree.add(total, move), total)
            if first is not None:
                first = optax.tree.where(i == 0, total, first)
            return total, first, fast_state

        nowhere = optax.tree.zeros_like(accumulable(slow))
        first = nowhere if is_adaptive(alpha) else None
        fast_state = optax.EmptyState() if fast_optimizer is None else state.fast_state
        _, (total, first, fast_state), perturbation_state = ascend(
            perturbation,
            state.perturbation_state,
            problem,
            k,
            descend,
            (nowhere, first, fast_state),
            switch_minibatch,
        )
        if is_adaptive(alpha):
            used = adaptive_alpha(alpha, first, total)
        else:
            used = given_alpha(alpha, state.count, slow)
        updates = optax.tree.cast_like(scale_by(used, total), updates)
        return updates, LookbehindState(
            count=optax.safe_increment(state.count),
            alpha=optax.tree.cast_like(used, state.alpha),
            perturbation_state=perturbation_state,
            fast_state=None if fast_optimizer is None else fast_state,
        )

    def without_ascent(
        updates: optax.Updates, state: LookbehindState, params: optax.Params | None
    ) -> tuple[optax.Updates, LookbehindState]:
        # On a policy's plain steps: as long as the k fast steps of gradients like this one.
        used = state.alpha
        if not is_adaptive(alpha):
            used = given_alpha(alpha, state.count, updates)
        plain = optax.tree.scale(k, scale_by(used, accumulable(updates)))
        return optax.tree.cast_like(plain, updates), state._replace(
            count=optax.safe_increment(state.count),
            alpha=optax.tree.cast_like(used, state.alpha),
            perturbation_state=next_state(
                perturbation, state.perturbation_state, updates, fast_params(params)
            ),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def lookbehind_sam(
    k: int,
    rho: optax.ScalarOrSchedule,
    alpha: Alpha,
    *,
    fast_optimizer: optax.GradientTransformation | None = None,
    switch_minibatch: bool = False,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Lookbehind with SAM's perturbation. ``k + 1`` gradients.

    ``lookbehind(sam_perturbation(rho), k, alpha, ...)``: see :func:`lookbehind` for the call and
    its arguments. The paper uses ``rho=0.05``, k in 2, 5, 10 and alpha in 0.2, 0.5, 0.8 or
    adaptive on CIFAR.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024.
    """
    return lookbehind(
        sam_perturbation(rho),
        k,
        alpha,
        fast_optimizer=fast_optimizer,
        switch_minibatch=switch_minibatch,
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def lookbehind_asam(
    k: int,
    rho: optax.ScalarOrSchedule,
    alpha: Alpha,
    eta: float = 0.01,
    mask: Mask | None = None,
    *,
    fast_optimizer: optax.GradientTransformation | None = None,
    switch_minibatch: bool = False,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Lookbehind with ASAM's perturbation. ``k + 1`` gradients.

    ``lookbehind(asam_perturbation(rho, eta, mask), k, alpha, ...)``: see :func:`lookbehind` for
    the call and its arguments. The paper uses ``rho=0.5`` on CIFAR.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024.
    """
    return lookbehind(
        asam_perturbation(rho, eta, mask),
        k,
        alpha,
        fast_optimizer=fast_optimizer,
        switch_minibatch=switch_minibatch,
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )
