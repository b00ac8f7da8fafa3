"""The policies of the papers: adaptive (AE-SAM), periodic (LookSAM), random (SS-SAM) and late."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core import keys
from optax_lookbehind._core.checks import (
    as_float,
    check_fraction,
    check_key,
    check_positive_integer,
    is_traced,
)
from optax_lookbehind._core.policy import Policy
from optax_lookbehind._core.tree import scalar_dtype, squared_norm, standard_promotion


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
    total_steps: int, lambda_1: float = -1.0, lambda_2: float = 1.0, decay: float = 0.9
) -> Policy:
    r"""Sharpness-aware when the squared gradient norm exceeds a running threshold (AE-SAM).

    With :math:`s_t = \lVert g_t \rVert^2` of the plain gradient, at step t = 0, 1, ...

    .. math::
      \begin{align*}
        \mu_t &= d \mu_{t-1} + (1 - d) s_t \\
        \sigma_t^2 &= d \sigma_{t-1}^2 + (1 - d) (s_t - \mu_t)^2 \\
        c_t &= \tfrac{t}{T} \lambda_1 + (1 - \tfrac{t}{T}) \lambda_2
      \end{align*}

    A step is sharpness-aware when :math:`s_t \ge \mu_t + c_t \sigma_t`. Otherwise the plain
    gradient is emitted, or :math:`k \alpha` times it by :func:`lookbehind`, and the step costs one
    gradient, the caller's. Change this::

      tx = optax.chain(multistep(sam_perturbation(rho=0.05)), optax.sgd(0.1))

    To::

      policy = adaptive_policy(total_steps=20_000)
      tx = optax.chain(multistep(sam_perturbation(rho=0.05), policy=policy), optax.sgd(0.1))

    ``optax.tree.get(state, "applied")`` counts the sharpness-aware steps; ``"mu"``, ``"var"`` and
    ``"threshold"`` read the statistics. Under ``jax.vmap`` over seeds both branches are computed,
    as for every ``jax.lax.cond``: the result is the same, but nothing is saved.

    The norm is not scaled before it is squared, which would be another pass over the gradient: in
    float32 a norm below about 1e-19 counts as zero, and one above 1e19 as infinite. A gradient that
    is not finite, or has such a norm, takes a plain step and leaves the statistics as they are.

    Args:
      total_steps: T, the number of training steps, >= 1; c stays at ``lambda_1`` after them.
      lambda_1: threshold at the end, in standard deviations. Lower means more SAM. Both at
        ``-inf``: every step is sharpness-aware; both at ``inf``: none is.
      lambda_2: threshold at the start.
      decay: d, decay rate of the statistics, in [0, 1). They start at ``mu = 0``,
        ``var = exp(-10)``.

    Returns:
      A :class:`Policy`, with an :class:`AdaptiveState`.

    Raises:
      ValueError: if ``total_steps`` is not an integer >= 1, ``decay`` is outside [0, 1), or the
        lambdas are neither finite nor the same infinity.

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
        # A decision has no derivative, and that of sqrt(var) is infinite at var = 0.
        s = jax.lax.stop_gradient(squared_norm(grads)).astype(state.mu.dtype)  # s_t
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

    return Policy(init_decision, decide)


def periodic_policy(period: int) -> Policy:
    """Sharpness-aware on every ``period``-th step, beginning with the first.

    Use it like :func:`adaptive_policy`; with :func:`reuse_direction` it is LookSAM. Its decisions
    are known before the step, so that a program for each kind of step needs no branch::

      @functools.partial(jax.jit, static_argnames="sharp")
      def train_step(params, state, batch, sharp):
          loss, grads, grad_fn = value_and_grad(loss_fn)(params, batch)
          updates, state = tx.update(grads, state, params, grad_fn=grad_fn, apply=sharp)
          return optax.apply_updates(params, updates), state, loss

      params, state, loss = train_step(params, state, batch, sharp=step % period == 0)

    The state is then the same as with the branch. Fewer sharp steps want a larger rho, about in
    proportion to the period: the SAM of MosaicML's composer has rho = 0.5 at a period of 10.

    Args:
      period: an integer >= 1; 1 is every step.

    Returns:
      A :class:`Policy`.

    Raises:
      ValueError: if ``period`` is not an integer >= 1.

    References:
      Liu et al., `Towards Efficient and Scalable Sharpness-Aware Minimization
      <https://arxiv.org/abs/2203.02714>`_, CVPR 2022 (LookSAM).
    """
    check_positive_integer("period", period)
    return _policy_of_step(lambda step: step % period == 0)


def late_policy(total_steps: int, fraction: float) -> Policy:
    r"""Sharpness-aware in the last ``fraction`` of training only (Late SAM).

    The first sharpness-aware step is :math:`t = \mathrm{round}((1 - f) \, T)`, counted from 0. The
    authors find that the last few epochs give nearly all of SAM's accuracy and flatness; an
    independent replication saw a gain only where that tail covers a whole decay of the learning
    rate (a fraction of about 0.3 to 0.6). The optimizer, its momentum included, is the same before
    and after. Decisions are known before the step: ``update(..., apply=step >= start)`` compiles a
    plain and a sharp step without a branch, as in :func:`periodic_policy`.

    Args:
      total_steps: T, the number of training steps (updates, not microbatches), >= 1.
      fraction: f, in [0, 1]; 0 is never, 1 is every step.

    Returns:
      A :class:`Policy`.

    Raises:
      ValueError: if ``total_steps`` is not an integer >= 1 or ``fraction`` is outside [0, 1].

    References:
      Zhou et al., `Sharpness-Aware Minimization Efficiently Selects Flatter Minima Late in Training
      <https://arxiv.org/abs/2410.10373>`_, ICLR 2025.
    """
    check_positive_integer("total_steps", total_steps)
    check_fraction("fraction", fraction)
    plain_steps = (1 - fraction) * total_steps
    # Rounded, because (1 - 0.9) * 10 is 0.999...; inject_hyperparams makes it an array.
    start = jnp.round(plain_steps) if isinstance(plain_steps, jax.Array) else round(plain_steps)
    return _policy_of_step(lambda step: step >= start)


def random_policy(probability: float = 0.5, key: int | jax.Array = 0) -> Policy:
    """Sharpness-aware on a random fraction of the steps, drawn independently at each step.

    Use it like :func:`adaptive_policy`.

    Args:
      probability: probability of a sharpness-aware step, in [0, 1]; 1 is every step.
      key: a seed or a ``jax.random.key``; its data are kept in the state and advance every training
        step.

    Returns:
      A :class:`Policy`.

    Raises:
      ValueError: if ``probability`` is outside [0, 1].

    References:
      Zhao, Zhang and Hu, `Randomized Sharpness-Aware Training for Boosting Computational
      Efficiency in Deep Learning <https://arxiv.org/abs/2203.09962>`_, 2022 (SS-SAM).
    """
    check_fraction("probability", probability)
    check_key(key)

    def decide(
        state: jax.Array, step: jax.Array, grads: optax.Updates
    ) -> tuple[jax.Array, jax.Array]:
        del step, grads
        state, draw = keys.split(state, key)
        return jax.random.bernoulli(draw, probability), state

    return Policy(lambda params: keys.key_data(key), decide)


def _policy_of_step(decide: Callable[[jax.Array], jax.Array]) -> Policy:
    """A policy whose decision depends on the training step alone."""
    return Policy(
        init=lambda params: optax.EmptyState(),
        decide=lambda state, step, grads: (decide(step), state),
    )


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
