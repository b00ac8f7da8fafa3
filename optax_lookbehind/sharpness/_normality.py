"""Are numbers normally distributed? The data of a Q-Q plot."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class NormalQQ(NamedTuple):
    """The data of a Q-Q plot against the normal distribution.

    Attributes:
      theoretical: quantiles of the standard normal, the horizontal axis, rising, shape (n,).
      ordered: the values in rising order, the vertical axis, shape (n,).
      slope: of the least-squares line through the points; their standard deviation, if normal.
      intercept: of that line; their mean, if normal.
      correlation: of the points; 1 for a perfectly normal sample.
    """

    theoretical: jax.Array
    ordered: jax.Array
    slope: jax.Array
    intercept: jax.Array
    correlation: jax.Array


def normal_qq(values: Any) -> NormalQQ:
    r"""Quantiles of ``values`` against those of the normal distribution.

    Points on a straight line mean a normal distribution. The i-th of n values stands over the
    normal quantile of Filliben's estimate of the median of its order statistic,

    .. math::
      m_n = 2^{-1/n}, \qquad m_1 = 1 - m_n, \qquad m_i = \frac{i - 0.3175}{n + 0.365}

    the same as ``scipy.stats.probplot``.

    Args:
      values: at least two numbers, shape (n,); :func:`gradient_statistics`'s ``squared_norms``.

    Returns:
      A :class:`NormalQQ`.

    Raises:
      ValueError: if ``values`` is not a vector of at least two.

    References:
      Filliben, The Probability Plot Correlation Coefficient Test for Normality, Technometrics
      17(1), 1975; Jiang et al., `AE-SAM <https://arxiv.org/abs/2304.14647>`_, ICLR 2023, Figure 9.
    """
    values = jnp.asarray(values)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(
            f"values must be a vector of at least two numbers, got shape {values.shape}."
        )
    return _qq(values)


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
