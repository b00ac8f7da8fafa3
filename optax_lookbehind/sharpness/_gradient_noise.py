"""Gradient noise: the variance of minibatch gradients and the distribution of their norms."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.cpu_convolutions import call_in_loop
from optax_lookbehind._core.tree import as_accumulator, dot, scalar_dtype, squared_norm
from optax_lookbehind._core.types import LossFn
from optax_lookbehind.sharpness._batches import check_batches


class GradientStatistics(NamedTuple):
    r"""Result of :func:`gradient_statistics`, float32 or wider.

    Attributes:
      squared_norms: :math:`\lVert g_B \rVert^2` of each minibatch, shape (num_batches,).
      variance: :math:`\mathbb{E} \lVert g_B - \bar g \rVert^2`, the variance summed over all
        weights, divided by the number of minibatches; scalar.
      squared_norm: :math:`\lVert \bar g \rVert^2` of the mean gradient; scalar.
    """

    squared_norms: jax.Array
    variance: jax.Array
    squared_norm: jax.Array


class NormalQQ(NamedTuple):
    """The data of a Q-Q plot against the normal distribution.

    Attributes:
      theoretical: quantiles of the standard normal, the horizontal axis, ascending, shape (n,).
      ordered: the values in ascending order, the vertical axis, shape (n,).
      slope: slope of the least-squares line through the points; for a normal sample, an estimate
        of its standard deviation.
      intercept: intercept of that line; for a normal sample, an estimate of its mean.
      correlation: correlation of the points; 1 if they lie on a line.
    """

    theoretical: jax.Array
    ordered: jax.Array
    slope: jax.Array
    intercept: jax.Array
    correlation: jax.Array


def gradient_statistics(loss_fn: LossFn, params: optax.Params, batches: Any) -> GradientStatistics:
    r"""Squared norms of the minibatch gradients, their variance, and the full gradient's norm.

    The adaptive policy compares the squared norm of a minibatch's gradient with a threshold; its
    mean is the sum of two parts:

    .. math:: \mathbb{E} \lVert g_B \rVert^2 = \lVert \bar g \rVert^2 + \operatorname{Var}(g_B)

    The variance is accumulated in one pass (Welford), in the memory of two gradients. Pass
    ``squared_norms`` to :func:`normal_qq` to see whether they are normally distributed, as the
    policy assumes.

    Args:
      loss_fn: ``(params, batch) -> scalar``, the mean loss of a minibatch; it decides in which mode
        BatchNorm runs.
      params: the weights.
      batches: the minibatches B, arrays of shape (num_batches, batch_size, ...).

    Returns:
      A :class:`GradientStatistics`.

    Raises:
      ValueError: if the arrays in ``batches`` disagree on the number of minibatches.

    References:
      Jiang et al., `An Adaptive Policy to Employ Sharpness-Aware Minimization
      <https://arxiv.org/abs/2304.14647>`_, ICLR 2023, equation 3, Figures 1 to 3 and 8;
      Welford, Note on a Method for Calculating Corrected Sums of Squares and Products, 1962.
    """
    check_batches(batches)
    return _statistics(loss_fn, params, batches)


def normal_qq(values: Any) -> NormalQQ:
    r"""Quantiles of ``values`` against those of the normal distribution.

    Points on a straight line mean a normal distribution. The i-th smallest of n values is plotted
    against the normal quantile of :math:`m_i`, Filliben's estimate of the median of the i-th order
    statistic of the uniform distribution,

    .. math::
      m_n = 2^{-1/n}, \qquad m_1 = 1 - m_n, \qquad m_i = \frac{i - 0.3175}{n + 0.365}

    the same as ``scipy.stats.probplot``.

    Args:
      values: at least two numbers, shape (n,); :func:`gradient_statistics`'s ``squared_norms``.

    Returns:
      A :class:`NormalQQ`.

    Raises:
      ValueError: if ``values`` is not a vector of at least two numbers.

    References:
      Filliben, The Probability Plot Correlation Coefficient Test for Normality, Technometrics
      17(1), 1975; Jiang et al., `AE-SAM <https://arxiv.org/abs/2304.14647>`_, ICLR 2023, Figures 3b
      and 9.
    """
    values = jnp.asarray(values)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(
            f"values must be a vector of at least two numbers, got shape {values.shape}."
        )
    return _qq(values)


@functools.partial(jax.jit, static_argnames="loss_fn")
def _statistics(loss_fn: LossFn, params: optax.Params, batches: Any) -> GradientStatistics:
    num_batches = check_batches(batches)
    dtype = scalar_dtype(params)

    def add(carry: tuple[Any, jax.Array], x: tuple[jax.Array, Any]) -> tuple[Any, jax.Array]:
        (mean, total), (count, batch) = carry, x
        grads = as_accumulator(call_in_loop(jax.grad(loss_fn), params, batch))
        from_old = optax.tree.sub(grads, mean)
        mean = optax.tree.cast_like(optax.tree.add_scale(mean, 1 / count, from_old), mean)
        total += dot(from_old, optax.tree.sub(grads, mean))
        return (mean, total), squared_norm(grads)

    counts = jnp.arange(1, num_batches + 1, dtype=dtype)
    first = (optax.tree.zeros_like(as_accumulator(params)), jnp.zeros((), dtype))
    (mean, total), squared_norms = jax.lax.scan(add, first, (counts, batches))
    return GradientStatistics(squared_norms, total / num_batches, squared_norm(mean))


@jax.jit
def _qq(values: jax.Array) -> NormalQQ:
    n = values.size
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    medians = (jnp.arange(1, n + 1, dtype=values.dtype) - 0.3175) / (n + 0.365)
    last = 0.5 ** (1 / n)
    medians = medians.at[0].set(1 - last).at[-1].set(last)
    x, y = jax.scipy.stats.norm.ppf(medians), jnp.sort(values)
    dx, dy = x - jnp.mean(x), y - jnp.mean(y)
    slope = jnp.vdot(dx, dy) / jnp.vdot(dx, dx)
    correlation = jnp.vdot(dx, dy) / jnp.sqrt(jnp.vdot(dx, dx) * jnp.vdot(dy, dy))
    return NormalQQ(x, y, slope, jnp.mean(y) - slope * jnp.mean(x), correlation)
