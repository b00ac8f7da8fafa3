"""Curvature: products with the Hessian, its largest eigenvalues and its trace.

The linear algebra is Matfree's, an optional dependency that only the latter two import.
"""

import functools
import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import check_count
from optax_lookbehind._core.cpu_convolutions import call_in_loop
from optax_lookbehind._core.gradient_checks import check_like
from optax_lookbehind._core.keys import as_key
from optax_lookbehind._core.tree import as_accumulator, scalar_dtype
from optax_lookbehind._core.types import LossFn
from optax_lookbehind.sharpness._batches import check_batches, mean_over_batches

_INSTALL = """\
The curvature measures need Matfree for their linear algebra; install it with

    pip install "optax-lookbehind[curvature]\""""


class TraceEstimate(NamedTuple):
    """Result of :func:`hessian_trace`; scalars.

    Attributes:
      trace: the estimate.
      standard_error: its standard deviation; NaN for a single sample.
    """

    trace: jax.Array
    standard_error: jax.Array


def hessian_vector_product(loss_fn: LossFn, params: optax.Params, batches: Any, vector: Any) -> Any:
    r"""The Hessian of the mean loss times a vector.

    .. math:: \Bigl(\frac{1}{|\mathcal{B}|} \sum_{B \in \mathcal{B}} \nabla^2 L_B(w)\Bigr) v

    by forward-mode differentiation of the gradient, one minibatch after the other: about the time
    of two gradients over ``batches``, and the memory of one minibatch.

    Args:
      loss_fn: ``(params, batch) -> scalar``; it decides in which mode BatchNorm runs.
      params: the weights w.
      batches: the minibatches, arrays of shape (num_batches, batch_size, ...).
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


def hessian_eigenvalues(
    loss_fn: LossFn,
    params: optax.Params,
    batches: Any,
    num_eigenvalues: int = 1,
    *,
    iterations: int = 40,
    key: int | jax.Array = 0,
) -> jax.Array:
    r"""The largest eigenvalues of the Hessian of the mean loss, by Lanczos iteration.

    The first, :math:`\lambda_{\max}`, is the curvature along the sharpest direction: gradient
    descent with a learning rate above :math:`2 / \lambda_{\max}` leaves the minimum. Needs
    ``pip install "optax-lookbehind[curvature]"``.

    Args:
      loss_fn: ``(params, batch) -> scalar``; it decides in which mode BatchNorm runs. Use
        evaluation mode, unless the dependence between the examples of a batch is of interest.
      params: the weights.
      batches: the minibatches, arrays of shape (num_batches, batch_size, ...).
      num_eigenvalues: number of eigenvalues to return, >= 1.
      iterations: Hessian-vector products to spend, >= ``num_eigenvalues``. As many as there are
        weights give the exact eigenvalues, and no more are used; fewer approach them from below,
        the largest first. The program keeps a copy of the weights for each iteration.
      key: a ``jax.random.key``, or a seed, for the vector that the iteration starts from.

    Returns:
      The eigenvalues in descending order, float32 or wider, shape (num_eigenvalues,). A repeated
      eigenvalue is found once; if the Hessian has few distinct eigenvalues and the Krylov space is
      exhausted early, the remaining entries are NaN.

    Raises:
      ImportError: if Matfree is not installed.
      ValueError: if ``num_eigenvalues`` or ``iterations`` is not an integer >= 1,
        ``num_eigenvalues`` exceeds ``iterations`` or the number of weights, or the arrays in
        ``batches`` disagree on the number of minibatches.

    References:
      Lanczos, An Iteration Method for the Solution of the Eigenvalue Problem, 1950; Ghorbani et
      al., `An Investigation into Neural Net Optimization via Hessian Eigenvalue Density
      <https://arxiv.org/abs/1901.10159>`_, ICML 2019.
    """
    _matfree("decomp")
    check_batches(batches)
    num_eigenvalues = check_count("num_eigenvalues", num_eigenvalues)
    iterations = min(check_count("iterations", iterations), optax.tree.size(params))
    if num_eigenvalues > iterations:
        raise ValueError(
            "num_eigenvalues must be at most the number of iterations and the number of weights, "
            f"here {iterations}, got {num_eigenvalues}."
        )
    return _eigenvalues(loss_fn, params, batches, num_eigenvalues, iterations, as_key(key))


def hessian_trace(
    loss_fn: LossFn,
    params: optax.Params,
    batches: Any,
    *,
    samples: int = 100,
    key: int | jax.Array = 0,
) -> TraceEstimate:
    r"""The trace of the Hessian of the mean loss, the sum of all curvatures, by sampling.

    .. math:: \operatorname{tr} H = \mathbb{E} \, v^\top H v, \qquad v_i = \pm 1 \text{ at random}

    Needs ``pip install "optax-lookbehind[curvature]"``.

    Args:
      loss_fn: ``(params, batch) -> scalar``; it decides in which mode BatchNorm runs.
      params: the weights.
      batches: the minibatches, arrays of shape (num_batches, batch_size, ...).
      samples: number of random vectors, one Hessian-vector product each, >= 1; drawn one after the
        other, so that memory does not grow with it.
      key: a ``jax.random.key``, or a seed.

    Returns:
      A :class:`TraceEstimate`, float32 or wider.

    Raises:
      ImportError: if Matfree is not installed.
      ValueError: if ``samples`` is not an integer >= 1, or the arrays in ``batches`` disagree on
        the number of minibatches.

    References:
      Hutchinson, A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian
      Smoothing Splines, 1990.
    """
    _matfree("stochtrace")
    check_batches(batches)
    keys = jax.random.split(as_key(key), check_count("samples", samples))
    return _trace(loss_fn, params, batches, keys)


@functools.partial(jax.jit, static_argnames="loss_fn")
def _product(loss_fn: LossFn, params: optax.Params, batches: Any, vector: Any) -> Any:
    def product(vector: Any, batch: Any) -> Any:
        def grad(params: optax.Params) -> optax.Updates:
            return jax.grad(loss_fn)(params, batch)

        return jax.jvp(grad, (params,), (optax.tree.cast_like(vector, params),))[1]

    return mean_over_batches(lambda batch: call_in_loop(product, vector, batch), batches)


@functools.partial(jax.jit, static_argnames=("loss_fn", "num_eigenvalues", "iterations"))
def _eigenvalues(
    loss_fn: LossFn,
    params: optax.Params,
    batches: Any,
    num_eigenvalues: int,
    iterations: int,
    key: jax.Array,
) -> jax.Array:
    tridiagonalize = _matfree("decomp").tridiag_sym(iterations, materialize=False)
    # One dtype for all leaves, so that one tolerance for orthonormality holds for all of them.
    dtype = scalar_dtype(params)
    start = optax.tree.random_like(key, optax.tree.cast(params, dtype), jax.random.normal)

    def product(vector: Any) -> Any:
        return optax.tree.cast(hessian_vector_product(loss_fn, params, batches, vector), dtype)

    # Default precision on accelerators is too low: the Lanczos vectors lose orthogonality.
    with jax.default_matmul_precision("highest"):
        vectors, (diagonal, off_diagonal), *_ = tridiagonalize(product, start)
        found = _orthonormal(vectors) & jnp.cumprod(jnp.isfinite(diagonal)).astype(bool)
    return _tridiagonal_eigenvalues(diagonal, off_diagonal, found)[:num_eigenvalues]


def _orthonormal(vectors: Any) -> jax.Array:
    """For each Lanczos vector, whether it and all before are orthonormal.

    Once the Krylov space is exhausted, the next vector consists of rounding errors, or of NaNs
    after a division by zero.
    """
    leaves = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(vectors)]
    products = jnp.tril(sum(leaf @ leaf.T for leaf in leaves))
    errors = jnp.max(jnp.abs(products - jnp.eye(len(products), dtype=products.dtype)), axis=1)
    return jnp.cumprod(errors < jnp.sqrt(jnp.finfo(errors.dtype).eps)).astype(bool)


def _tridiagonal_eigenvalues(
    diagonal: jax.Array, off_diagonal: jax.Array, found: jax.Array
) -> jax.Array:
    """Eigenvalues of the leading block that Lanczos found, descending; NaN for the rest."""
    off_diagonal = jnp.where(found[1:], off_diagonal, 0)
    entries = jnp.concatenate([jnp.where(found, diagonal, 0), off_diagonal])
    below_all = -3 * jnp.max(jnp.abs(entries)) - 1  # there are three entries in a row
    matrix = jnp.diag(jnp.where(found, diagonal, below_all))
    matrix += jnp.diag(off_diagonal, 1) + jnp.diag(off_diagonal, -1)
    eigenvalues = jnp.linalg.eigvalsh(matrix)[::-1]
    return jnp.where(jnp.arange(eigenvalues.size) < jnp.sum(found), eigenvalues, jnp.nan)


@functools.partial(jax.jit, static_argnames="loss_fn")
def _trace(loss_fn: LossFn, params: optax.Params, batches: Any, keys: jax.Array) -> TraceEstimate:
    stochtrace = _matfree("stochtrace")
    sampler = stochtrace.sampler_signs(as_accumulator(params), num=1)
    estimate = stochtrace.estimator_monte_carlo(stochtrace.monte_carlo_trace(), sampler)
    product = functools.partial(hessian_vector_product, loss_fn, params, batches)
    # One call per sample: Matfree would hold all vectors at once.
    traces = jax.lax.map(lambda key: estimate(product, key), keys)
    error = jnp.std(traces, ddof=1) / jnp.sqrt(traces.size)
    return optax.tree.cast(TraceEstimate(jnp.mean(traces), error), scalar_dtype(params))


def _matfree(module: str) -> Any:
    try:
        return importlib.import_module(f"matfree.{module}")
    except ImportError as error:
        raise ImportError(_INSTALL) from error
