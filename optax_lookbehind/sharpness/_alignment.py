"""Alignment of the gradients in Lookbehind's inner loop."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._alpha import adaptive_alpha
from optax_lookbehind._core.ascent import ascent_step, gradients_of
from optax_lookbehind._core.checks import check_count
from optax_lookbehind._core.cpu_convolutions import call_in_loop
from optax_lookbehind._core.tree import as_accumulator, divide, dot, norm, scalar_dtype
from optax_lookbehind._core.types import LossFn
from optax_lookbehind.sharpness._batches import check_batches


class Alignment(NamedTuple):
    r"""Result of :func:`alignment`, float32 or wider.

    Attributes:
      alpha: :math:`\alpha^*` on each minibatch, in [0, 1], shape (num_batches,).
      cosines: between :math:`g_i` and :math:`g_{i+1}` for i = 0..k-1, shape
        (num_batches, k). The first column compares with the gradient at the weights themselves.
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

    :math:`\alpha^*` near 1 means that the gradients of all inner steps are aligned: the region that
    the ascent explores is smooth. A cosine with a zero gradient counts as 0. The weights are not
    updated.

    Args:
      loss_fn: ``(params, batch) -> scalar``; it decides in which mode BatchNorm runs.
      params: the weights w.
      batches: the minibatches B, arrays of shape (num_batches, batch_size, ...).
      perturbation: the rule e, :func:`sam_perturbation` for instance. The program is compiled once
        for each such object, so make it once.
      k: number of ascent steps, >= 1.

    Returns:
      An :class:`Alignment`.

    Raises:
      ValueError: if ``k`` is not an integer >= 1, or the arrays in ``batches`` disagree on the
        number of minibatches.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024, equations 7
      and 8, Figure 10.
    """
    check_batches(batches)
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
    state = perturbation.init(params)

    def batch_alignment(batch: Any) -> Alignment:
        g_0 = call_in_loop(jax.grad(loss_fn), params, batch)
        grad_fn = lambda p, i: jax.grad(loss_fn)(p, batch)  # noqa: E731
        gradient = gradients_of(g_0, params, grad_fn, axis_name=None, sync_perturbation=True)

        def inner_step(carry: Any, i: jax.Array) -> tuple[Any, jax.Array]:
            p, previous, total, first = carry
            p = ascent_step(perturbation, state, p, previous)  # p_i
            _, g = gradient.at(p, i)  # g_i
            wide = as_accumulator(g)
            total = optax.tree.add(total, wide)  # g_1 + ... + g_i
            first = optax.tree.where(i == 0, wide, first)  # g_1
            return (p, g, total, first), _cosine(previous, g).astype(dtype)

        zeros = optax.tree.zeros_like(as_accumulator(params))
        carry = (gradient.p_0, gradient.g_0, zeros, zeros)
        inner_steps = jnp.arange(k, dtype=jnp.int32)
        (_, _, total, first), cosines = jax.lax.scan(inner_step, carry, inner_steps)
        alpha = adaptive_alpha("adaptive", first, total)  # equations 7 and 8
        return Alignment(alpha.astype(dtype), cosines)

    return jax.lax.map(batch_alignment, batches)


def _cosine(first: Any, second: Any) -> jax.Array:
    return divide(dot(first, second), norm(first) * norm(second))
