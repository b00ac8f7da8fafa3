"""How much the gradients of minibatches differ, at given weights."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.cpu_convolutions import rewrite_cpu_convolutions
from optax_lookbehind._tree import accumulable, dot, scalar_dtype, squared_norm
from optax_lookbehind.sharpness._arguments import check_batches
from optax_lookbehind.sharpness._batches import LossFn


class GradientStatistics(NamedTuple):
    r"""What :func:`gradient_statistics` found, float32 or wider.

    Attributes:
      squared_norms: :math:`\lVert g_B \rVert^2` of each minibatch, shape (number,).
      variance: :math:`\mathbb{E} \lVert g_B - \bar g \rVert^2`, the variance summed over all
        weights, divided by the number of minibatches; scalar.
      squared_norm: :math:`\lVert \bar g \rVert^2` of the mean gradient; scalar.
    """

    squared_norms: jax.Array
    variance: jax.Array
    squared_norm: jax.Array


def gradient_statistics(loss_fn: LossFn, params: optax.Params, batches: Any) -> GradientStatistics:
    r"""Squared norms of the minibatch gradients, their variance, and the full gradient's norm.

    The adaptive policy decides on the squared norm of a minibatch's gradient, whose mean is the
    sum of two parts:

    .. math:: \mathbb{E} \lVert g_B \rVert^2 = \lVert \bar g \rVert^2 + \operatorname{Var}(g_B)

    The variance is accumulated in one pass (Welford), in the memory of two gradients. Pass
    ``squared_norms`` to :func:`normal_qq` to see whether they are normally distributed, as the
    policy supposes.

    Args:
      loss_fn: ``(params, batch) -> scalar``, the mean loss of a minibatch; it decides in which mode
        BatchNorm runs.
      params: the weights.
      batches: the minibatches B, arrays of shape (number, m, ...).

    Returns:
      A :class:`GradientStatistics`.

    Raises:
      ValueError: if the arrays in ``batches`` disagree on the number of minibatches.

    References:
      Jiang et al., `An Adaptive Policy to Employ Sharpness-Aware Minimization
      <https://arxiv.org/abs/2304.14647>`_, ICLR 2023, section 3.1, Figures 1 to 3, 8 and 9;
      Welford, Note on a Method for Calculating Corrected Sums of Squares and Products, 1962.
    """
    check_batches(batches)
    return _statistics(loss_fn, params, batches)


@functools.partial(jax.jit, static_argnames="loss_fn")
def _statistics(loss_fn: LossFn, params: optax.Params, batches: Any) -> GradientStatistics:
    number = check_batches(batches)
    grad_fn = rewrite_cpu_convolutions(jax.grad(loss_fn))
    dtype = scalar_dtype(params)

    def add(carry: tuple[Any, jax.Array], x: tuple[jax.Array, Any]) -> tuple[Any, jax.Array]:
        (mean, total), (count, batch) = carry, x
        grads = accumulable(grad_fn(params, batch))
        from_old = optax.tree.sub(grads, mean)
        mean = optax.tree.cast_like(optax.tree.add_scale(mean, 1 / count, from_old), mean)
        total += dot(from_old, optax.tree.sub(grads, mean))
        return (mean, total), squared_norm(grads)

    counts = jnp.arange(1, number + 1, dtype=dtype)
    first = (optax.tree.zeros_like(accumulable(params)), jnp.zeros((), dtype))
    (mean, total), squared_norms = jax.lax.scan(add, first, (counts, batches))
    return GradientStatistics(squared_norms, total / number, squared_norm(mean))
