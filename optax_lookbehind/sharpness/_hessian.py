"""Products of the Hessian with a vector, without the Hessian."""

import functools
from typing import Any

import jax
import optax

from optax_lookbehind._ascent import check_like
from optax_lookbehind._core.cpu_convolutions import rewrite_cpu_convolutions
from optax_lookbehind.sharpness._arguments import check_batches
from optax_lookbehind.sharpness._batches import LossFn, mean_over_batches


def hessian_vector_product(loss_fn: LossFn, params: optax.Params, batches: Any, vector: Any) -> Any:
    r"""The Hessian of the mean loss times a vector.

    .. math:: \Bigl(\frac{1}{|\mathcal{B}|} \sum_{B \in \mathcal{B}} \nabla^2 L_B(w)\Bigr) v

    by forward-mode differentiation of the gradient, one minibatch after the other: about the time
    of two gradients over ``batches``, and the memory of one minibatch.

    Args:
      loss_fn: ``(params, batch) -> scalar``; it decides in which mode BatchNorm runs.
      params: the weights w.
      batches: the minibatches, arrays of shape (number, m, ...).
      vector: v, a pytree like ``params``.

    Returns:
      A pytree like ``params``, float32 or wider.

    Raises:
      ValueError: if ``vector`` does not have the structure and shapes of ``params``, or the arrays
        in ``batches`` disagree on the number of minibatches.

    References:
      Pearlmutter, Fast Exact Multiplication by the Hessian, Neural Computation 6(1), 1994.
    """
    check_batches(batches)
    check_like(params, "vector", vector)
    return _product(loss_fn, params, batches, vector)


@functools.partial(jax.jit, static_argnames="loss_fn")
def _product(loss_fn: LossFn, params: optax.Params, batches: Any, vector: Any) -> Any:
    def product(vector: Any, batch: Any) -> Any:
        def grad(at: optax.Params) -> optax.Updates:
            return jax.grad(loss_fn)(at, batch)

        return jax.jvp(grad, (params,), (optax.tree.cast_like(vector, params),))[1]

    fast_product = rewrite_cpu_convolutions(product)
    return mean_over_batches(lambda batch: fast_product(vector, batch), batches)
