"""How well the gradients of Lookbehind's inner loop agree."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._alpha import adaptive_alpha
from optax_lookbehind._arguments import check_count, check_transformation
from optax_lookbehind._ascent import ascend, pose
from optax_lookbehind._core.cpu_convolutions import rewrite_cpu_convolutions
from optax_lookbehind._tree import accumulable, divide, dot, norm, scalar_dtype
from optax_lookbehind.sharpness._arguments import check_batches
from optax_lookbehind.sharpness._batches import LossFn


class Alignment(NamedTuple):
    r"""What :func:`alignment` found, float32 or wider.

    Attributes:
      alpha: :math:`\alpha^*` on each minibatch, in [0, 1], shape (number,).
      cosines: between :math:`g_i` and :math:`g_{i+1}` for i = 0..k-1, shape (number, k). The first
        column has the gradient at the weights themselves in it.
    """

    alpha: jax.Array
    cosines: jax.Array


def alignment(
    loss_fn: LossFn,
    params: optax.Params,
    batches: Any,
    perturbation: optax.GradientTransformation,
    k: int,
) -> Alignment:
    r"""Adaptive alpha, and the cosines between successive gradients of the ascent.

    On each minibatch Lookbehind's ascent runs from the weights, as in :func:`lookbehind`:
    :math:`p_0 = w`, :math:`p_i = p_{i-1} + e(g_{i-1})`, :math:`g_i = \nabla L_B(p_i)`. Then

    .. math::
      \alpha^* = \frac{\cos(g_1, g_1 + \dots + g_k) + 1}{2}, \qquad
      \cos(g_i, g_{i+1}) = \frac{g_i \cdot g_{i+1}}{\lVert g_i \rVert \lVert g_{i+1} \rVert}

    :math:`\alpha^*` near 1 means that all inner steps pull the same way: the region that the
    ascent explores is smooth. A cosine with a zero gradient counts as 0. The weights stay put.

    Args:
      loss_fn: ``(params, batch) -> scalar``; it decides in which mode BatchNorm runs.
      params: the weights w.
      batches: the minibatches B, arrays of shape (number, m, ...).
      perturbation: the rule e, :func:`sam_perturbation` for instance. The program is compiled once
        for each such object, so make it once.
      k: number of ascent steps, >= 1.

    Returns:
      An :class:`Alignment`.

    Raises:
      ValueError: if ``k`` is not an integer >= 1, ``perturbation`` no Optax transformation, or the
        arrays in ``batches`` disagree on the number of minibatches.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024, equations 7
      and 8, Figure 10.
    """
    check_batches(batches)
    check_transformation("perturbation", perturbation)
    return _alignment(loss_fn, params, batches, perturbation, check_count("k", k))


@functools.partial(jax.jit, static_argnames=("loss_fn", "perturbation", "k"))
def _alignment(
    loss_fn: LossFn,
    params: optax.Params,
    batches: Any,
    perturbation: optax.GradientTransformation,
    k: int,
) -> Alignment:
    dtype = scalar_dtype(params)
    grad_fn = rewrite_cpu_convolutions(jax.grad(loss_fn))

    def of_batch(batch: Any) -> Alignment:
        grads = grad_fn(params, batch)
        problem = pose(grads, params, lambda at, i: jax.grad(loss_fn)(at, batch), None, True)

        def compare(carry: Any, grads: optax.Updates, i: jax.Array) -> Any:
            previous, first, total, cosines = carry
            wide = accumulable(grads)
            first = optax.tree.where(i == 0, wide, first)
            cosines = cosines.at[i].set(_cosine(previous, grads).astype(dtype))
            return grads, first, optax.tree.add(total, wide), cosines

        zero = optax.tree.zeros_like(accumulable(params))
        carry = (grads, zero, zero, jnp.zeros(k, dtype))
        state = perturbation.init(params)
        _, (_, first, total, cosines), _ = ascend(perturbation, state, problem, k, compare, carry)
        alpha = adaptive_alpha("adaptive", first, total)
        return Alignment(alpha.astype(dtype), cosines)

    return jax.lax.map(of_batch, batches)


def _cosine(first: Any, second: Any) -> jax.Array:
    return divide(dot(first, second), norm(first) * norm(second))
