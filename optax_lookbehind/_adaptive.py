"""AE-SAM: sharpness-aware only where the landscape is sharp."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._alpha import Alpha
from optax_lookbehind._arguments import as_float, check_positive_integer, check_scalar
from optax_lookbehind._devices import AxisName
from optax_lookbehind._lookbehind import lookbehind_sam
from optax_lookbehind._multistep import sam
from optax_lookbehind._policy import policy
from optax_lookbehind._tree import scalar_dtype, squared_norm


class AdaptiveState(NamedTuple):
    """Running statistics of the squared gradient norm, float32 or wider scalars.

    Attributes:
      mu: its mean.
      var: its variance.
      threshold: ``mu + c * sigma``, which the last squared gradient norm was compared with: 0
        before the first step, and infinite where the lambdas are. A gradient that is not finite
        changes none of the three.
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
    reuse: optax.ScalarOrSchedule | None = None,
    axis_name: AxisName = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Runs ``inner`` only on steps whose gradient is large against the recent ones (AE-).

    With :math:`s_t = \lVert g_t \rVert^2` of the plain gradient, at step t = 0, 1, ...

    .. math::
      \begin{align*}
        \mu_t &= d \mu_{t-1} + (1 - d) s_t \\
        \sigma_t^2 &= d \sigma_{t-1}^2 + (1 - d) (s_t - \mu_t)^2 \\
        c_t &= \tfrac{t}{T} \lambda_1 + (1 - \tfrac{t}{T}) \lambda_2
      \end{align*}

    ``inner`` runs when :math:`s_t \ge \mu_t + c_t \sigma_t`; otherwise the plain gradient is
    emitted, or :math:`k \alpha` times it where ``inner`` is a Lookbehind, and the step costs one
    gradient, the caller's. Change this::

      tx = optax.chain(sam(rho=0.05), optax.sgd(0.1))

    To::

      tx = optax.chain(adaptive_policy(sam(rho=0.05), total_steps=20_000), optax.sgd(0.1))

    ``optax.tree.get(state, "applied")`` counts the steps on which ``inner`` ran; ``"mu"``,
    ``"var"`` and ``"threshold"`` read the statistics. Under ``jax.vmap`` over seeds both branches
    are computed, as for every ``jax.lax.cond``: the result is the same, the saving is gone.

    Args:
      inner: any sharpness-aware transformation of this package that emits a gradient, given the
        same ``axis_name``.
      total_steps: T, the number of training steps, >= 1; the threshold stays at ``lambda_1`` after.
      lambda_1: threshold at the end, in standard deviations. Lower means more SAM. Equal infinite
        values for both switch it on (``-inf``) or off (``inf``) for good.
      lambda_2: threshold at the start.
      decay: d, memory of the statistics, in [0, 1). They start at ``mu = 0``, ``var = exp(-10)``.
      reuse: None, or LookSAM's alpha: on steps without SAM emit
        :math:`g + \alpha \lVert g \rVert v / \lVert v \rVert`, v being the part of the last
        sharpness-aware gradient orthogonal to the plain one.
      axis_name: the mapped axis over which gradients are averaged for the decision.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`.

    Raises:
      ValueError: if ``total_steps`` is not an integer >= 1, ``decay`` outside [0, 1), a lambda not
        a number; in ``init`` if ``inner`` is a Lookbehind with ``fast_optimizer``, which emits an
        update where a policy needs a gradient.

    References:
      Jiang et al., `An Adaptive Policy to Employ Sharpness-Aware Minimization
      <https://arxiv.org/abs/2304.14647>`_, ICLR 2023, section 3.
    """
    check_positive_integer("total_steps", total_steps)
    check_scalar("decay", decay, 0, 1, "[)")
    _check_lambdas(lambda_1, lambda_2)

    def init_decision(params: optax.Params) -> AdaptiveState:
        dtype = scalar_dtype(params)
        return AdaptiveState(
            mu=jnp.zeros([], dtype),
            var=jnp.exp(jnp.asarray(-10, dtype)),
            threshold=jnp.zeros([], dtype),
        )

    def decide(
        state: AdaptiveState, count: jax.Array, grads: optax.Updates
    ) -> tuple[jax.Array, AdaptiveState]:
        s = squared_norm(grads).astype(state.mu.dtype)
        mu = decay * state.mu + (1 - decay) * s
        var = decay * state.var + (1 - decay) * jnp.square(s - mu)
        progress = jnp.minimum(count.astype(mu.dtype) / total_steps, 1)
        # From lambda_2 to lambda_1; two equal infinite values have no difference to be scaled.
        way = jnp.where(lambda_1 == lambda_2, 0, lambda_1 - lambda_2)
        c = jnp.asarray(lambda_2, mu.dtype) + progress * way
        threshold = mu + jnp.where(jnp.isinf(c), c, c * jnp.sqrt(var))
        # A gradient that is not finite says nothing about the landscape.
        known = jnp.isfinite(s) & jnp.isfinite(var)
        new = optax.tree.cast_like(AdaptiveState(mu, var, threshold), state)
        return s >= threshold, optax.tree.where(known, new, state)

    return policy(inner, init_decision, decide, reuse, axis_name)


def ae_sam(
    rho: optax.ScalarOrSchedule,
    total_steps: int,
    lambda_1: float = -1.0,
    lambda_2: float = 1.0,
    decay: float = 0.9,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM on about half of the steps, those with large gradients. 1 or 2 gradients a step.

    ``adaptive_policy(sam(rho), total_steps, lambda_1, lambda_2, decay)``: see
    :func:`adaptive_policy`.

    References:
      Jiang et al., `AE-SAM <https://arxiv.org/abs/2304.14647>`_, ICLR 2023, Algorithm 1.
    """
    inner = sam(rho, axis_name=axis_name, sync_perturbation=sync_perturbation)
    return adaptive_policy(inner, total_steps, lambda_1, lambda_2, decay, axis_name=axis_name)


def ae_looksam(
    rho: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule,
    total_steps: int,
    lambda_1: float = 0.0,
    lambda_2: float = 2.0,
    decay: float = 0.9,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """AE-SAM that reuses the last sharp direction on its plain steps. 1 or 2 gradients a step.

    ``adaptive_policy(sam(rho), total_steps, lambda_1, lambda_2, decay, reuse=alpha)``: see
    :func:`adaptive_policy`. The higher lambdas use SAM less often than :func:`ae_sam`; the paper
    searches ``alpha`` in 0.1, 0.3, 0.6, 0.9.

    References:
      Jiang et al., `AE-LookSAM <https://arxiv.org/abs/2304.14647>`_, ICLR 2023, section 3.
    """
    check_scalar("alpha", alpha, 0, jnp.inf, "[)", schedule=True)
    inner = sam(rho, axis_name=axis_name, sync_perturbation=sync_perturbation)
    return adaptive_policy(
        inner, total_steps, lambda_1, lambda_2, decay, reuse=alpha, axis_name=axis_name
    )


def ae_lookbehind_sam(
    k: int,
    rho: optax.ScalarOrSchedule,
    alpha: Alpha,
    total_steps: int,
    lambda_1: float = -1.0,
    lambda_2: float = 1.0,
    decay: float = 0.9,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""Lookbehind-SAM where the landscape is sharp, a plain step of the same length elsewhere.

    ``adaptive_policy(lookbehind_sam(k, rho, alpha), total_steps, lambda_1, lambda_2, decay)``: see
    :func:`adaptive_policy`. 1 or ``k + 1`` gradients a step. Lookbehind emits
    :math:`\alpha \sum_i g_i`, about :math:`k \alpha` gradients; so that the effective learning
    rate does not jump from step to step, plain steps emit :math:`k \alpha \, g` with the alpha
    that Lookbehind last used (adaptive: 1 before it ran; per leaf for ``"adaptive_per_tensor"``).
    A learning rate tuned for Lookbehind then fits.

    Neither paper has this combination; its parts are theirs.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024;
      Jiang et al., `AE-SAM <https://arxiv.org/abs/2304.14647>`_, ICLR 2023.
    """
    inner = lookbehind_sam(k, rho, alpha, axis_name=axis_name, sync_perturbation=sync_perturbation)
    return adaptive_policy(inner, total_steps, lambda_1, lambda_2, decay, axis_name=axis_name)


def _check_lambdas(lambda_1: float, lambda_2: float) -> None:
    first, last = as_float(lambda_1), as_float(lambda_2)
    if math.isinf(first) and first == last:
        return
    for name, value in (("lambda_1", lambda_1), ("lambda_2", lambda_2)):
        if not isinstance(value, jax.core.Tracer) and not math.isfinite(as_float(value)):
            raise ValueError(
                f"{name} must be a finite number, or both lambdas the same infinity, got {value!r}."
            )
