"""The policies of the papers: adaptive (AE-SAM), periodic (LookSAM) and random (SS-SAM)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import (
    as_float,
    as_key,
    check_fraction,
    check_key,
    check_positive_integer,
    is_traced,
)
from optax_lookbehind._core.tree import scalar_dtype, squared_norm, standard_promotion
from optax_lookbehind._core.types import AxisName
from optax_lookbehind._policy import policy


class AdaptiveState(NamedTuple):
    """Running statistics of the squared gradient norm, float32 or wider scalars.

    Attributes:
      mu: its mean.
      var: its variance.
      threshold: ``mu + c * sigma``, which the last squared gradient norm was compared with: 0
        before the first step, and infinite if the lambdas are. Non-finite gradients leave all three
        unchanged.
    """

    mu: jax.Array
    var: jax.Array
    threshold: jax.Array


def adaptive_policy(
    inner: optax.GradientTransformation,
    total_steps: int,
    lambda_1: float = -1.0,
    lambda_2: float = 1.0,
    decay: float = 0.9,
    axis_name: AxisName = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Applies ``inner`` when the squared gradient norm exceeds a running threshold (AE-SAM).

    With :math:`s_t = \lVert g_t \rVert^2` of the plain gradient, at step t = 0, 1, ...

    .. math::
      \begin{align*}
        \mu_t &= d \mu_{t-1} + (1 - d) s_t \\
        \sigma_t^2 &= d \sigma_{t-1}^2 + (1 - d) (s_t - \mu_t)^2 \\
        c_t &= \tfrac{t}{T} \lambda_1 + (1 - \tfrac{t}{T}) \lambda_2
      \end{align*}

    ``inner`` is applied when :math:`s_t \ge \mu_t + c_t \sigma_t`. Otherwise the plain gradient is
    emitted, or :math:`k \alpha` times it if ``inner`` is a Lookbehind, and the step costs one
    gradient, the caller's. Change this::

      tx = optax.chain(sam(rho=0.05), optax.sgd(0.1))

    To::

      tx = optax.chain(adaptive_policy(sam(rho=0.05), total_steps=20_000), optax.sgd(0.1))

    ``optax.tree.get(state, "applied")`` counts the steps on which ``inner`` was applied; ``"mu"``,
    ``"var"`` and ``"threshold"`` read the statistics. Under ``jax.vmap`` over seeds both branches
    are computed, as for every ``jax.lax.cond``: the result is the same, but nothing is saved.

    The norm is not scaled before it is squared, which would be another pass over the gradient: in
    float32 a norm below about 1e-19 counts as zero, and one above 1e19 as infinite. A gradient that
    is not finite, or has such a norm, takes a plain step and leaves the statistics as they are.

    Args:
      inner: any sharpness-aware transformation that emits a gradient, with the same ``axis_name``;
        around it :func:`reuse_direction` for AE-LookSAM.
      total_steps: T, the number of training steps, >= 1; c stays at ``lambda_1`` after them.
      lambda_1: threshold at the end, in standard deviations. Lower means more SAM. Setting both
        lambdas to ``-inf`` always applies ``inner``; setting both to ``inf`` never does.
      lambda_2: threshold at the start.
      decay: d, decay rate of the statistics, in [0, 1). They start at ``mu = 0``,
        ``var = exp(-10)``.
      axis_name: the mapped axis over which gradients are averaged for the decision.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`.

    Raises:
      ValueError: if ``total_steps`` is not an integer >= 1, ``decay`` is outside [0, 1), or the
        lambdas are neither finite nor the same infinity; in ``init`` if ``inner`` is not
        sharpness-aware or emits a final update.

    References:
      Jiang et al., `An Adaptive Policy to Employ Sharpness-Aware Minimization
      <https://arxiv.org/abs/2304.14647>`_, ICLR 2023, section 3.2.
    """
    check_positive_integer("total_steps", total_steps)
    check_fraction("decay", decay, one=False)
    _check_lambdas(lambda_1, lambda_2)

    def init_decision(params: optax.Params) -> AdaptiveState:
        dtype = scalar_dtype(params)
        return AdaptiveState(
            mu=jnp.zeros([], dtype),
            var=jnp.exp(jnp.asarray(-10, dtype)),
            threshold=jnp.zeros([], dtype),
        )

    @standard_promotion
    def decide(
        state: AdaptiveState, step: jax.Array, grads: optax.Updates
    ) -> tuple[jax.Array, AdaptiveState]:
        s = squared_norm(grads).astype(state.mu.dtype)  # s_t
        mu = decay * state.mu + (1 - decay) * s
        var = decay * state.var + (1 - decay) * jnp.square(s - mu)
        # c_t = lambda_2 + t/T (lambda_1 - lambda_2). Equal lambdas have span 0: inf - inf is NaN.
        progress = jnp.minimum(step.astype(mu.dtype) / total_steps, 1)
        span = jnp.where(lambda_1 == lambda_2, 0, lambda_1 - lambda_2)
        c = jnp.asarray(lambda_2, mu.dtype) + progress * span
        threshold = mu + jnp.where(jnp.isinf(c), c, c * jnp.sqrt(var))  # inf * 0 is NaN
        # Do not let a non-finite gradient update the running statistics.
        finite = jnp.isfinite(s) & jnp.isfinite(var)
        new = optax.tree.cast_like(AdaptiveState(mu, var, threshold), state)
        return s >= threshold, optax.tree.where(finite, new, state)

    return policy(inner, init_decision, decide, axis_name=axis_name)


def periodic_policy(
    inner: optax.GradientTransformation,
    period: int,
    axis_name: AxisName = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Applies ``inner`` on every ``period``-th step, beginning with the first.

    On the other steps the plain gradient is emitted (around a Lookbehind :math:`k \alpha` times it,
    so that steps are about equally long) and the step costs one gradient. Use it like
    :func:`adaptive_policy`; ``optax.tree.get(state, "applied")`` counts the steps with ``inner``.

    Args:
      inner: any sharpness-aware transformation that emits a gradient, with the same ``axis_name``;
        around it :func:`reuse_direction` for LookSAM.
      period: an integer >= 1; 1 is ``inner`` itself.
      axis_name: the mapped axis over which the emitted gradient is averaged.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`.

    Raises:
      ValueError: if ``period`` is not an integer >= 1; in ``init`` if ``inner`` is not
        sharpness-aware or emits a final update.

    References:
      Liu et al., `Towards Efficient and Scalable Sharpness-Aware Minimization
      <https://arxiv.org/abs/2203.02714>`_, CVPR 2022 (LookSAM).
    """
    check_positive_integer("period", period)

    def decide(
        state: optax.EmptyState, step: jax.Array, grads: optax.Updates
    ) -> tuple[jax.Array, optax.EmptyState]:
        del grads
        return step % period == 0, state

    return policy(inner, lambda params: optax.EmptyState(), decide, axis_name=axis_name)


def random_policy(
    inner: optax.GradientTransformation,
    probability: float = 0.5,
    key: int | jax.Array = 0,
    axis_name: AxisName = None,
) -> optax.GradientTransformationExtraArgs:
    """Applies ``inner`` on a random fraction of the steps, drawn independently at each step.

    On the other steps the plain gradient is emitted (around a Lookbehind ``k * alpha`` times it,
    so that steps are about equally long) and the step costs one gradient. Use it like
    :func:`adaptive_policy`; ``optax.tree.get(state, "applied")`` counts the steps with ``inner``.

    Args:
      inner: any sharpness-aware transformation that emits a gradient, with the same ``axis_name``.
      probability: probability of applying ``inner``, in [0, 1]; 1 is ``inner`` itself.
      key: a seed or a ``jax.random.key``, kept in the state; it advances every training step.
      axis_name: the mapped axis over which the emitted gradient is averaged.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`.

    Raises:
      ValueError: if ``probability`` is outside [0, 1]; in ``init`` if ``inner`` is not
        sharpness-aware or emits a final update.

    References:
      Zhao, Zhang and Hu, `Randomized Sharpness-Aware Training for Boosting Computational
      Efficiency in Deep Learning <https://arxiv.org/abs/2203.09962>`_, 2022 (SS-SAM).
    """
    check_fraction("probability", probability)
    check_key(key)

    def decide(
        key: jax.Array, step: jax.Array, grads: optax.Updates
    ) -> tuple[jax.Array, jax.Array]:
        del step, grads
        key, draw = jax.random.split(key)
        return jax.random.bernoulli(draw, probability), key

    return policy(inner, lambda params: as_key(key), decide, axis_name=axis_name)


def _check_lambdas(lambda_1: float, lambda_2: float) -> None:
    first, last = as_float(lambda_1), as_float(lambda_2)
    if math.isinf(first) and first == last:
        return
    for name, value in (("lambda_1", lambda_1), ("lambda_2", lambda_2)):
        if not is_traced(value) and not math.isfinite(as_float(value)):
            raise ValueError(
                f"{name} must be a finite number, unless both lambdas are the same infinity; got "
                f"{value!r}."
            )
