"""Curvature: the largest eigenvalues of the Hessian, and its trace.

The linear algebra is Matfree's, an optional dependency that only these functions import.
"""

import functools
import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._arguments import as_key, check_count
from optax_lookbehind._tree import accumulable, scalar_dtype
from optax_lookbehind.sharpness._arguments import check_batches
from optax_lookbehind.sharpness._batches import LossFn
from optax_lookbehind.sharpness._hessian import hessian_vector_product

_INSTALL = """\
The curvature measures need Matfree for their linear algebra; install it with

    pip install "optax-lookbehind[curvature]\""""


class TraceEstimate(NamedTuple):
    """What :func:`hessian_trace` found; scalars.

    Attributes:
      trace: the estimate.
      standard_error: its standard deviation; NaN for a single sample.
    """

    trace: jax.Array
    standard_error: jax.Array


def hessian_eigenvalues(
    loss_fn: LossFn,
    params: optax.Params,
    batches: Any,
    number: int = 1,
    *,
    iterations: int = 40,
    key: int | jax.Array = 0,
) -> jax.Array:
    r"""The largest eigenvalues of the Hessian of the mean loss, by Lanczos iteration.

    The first, :math:`\lambda_{\max}`, is the curvature along the sharpest direction: gradient
    descent with a learning rate above :math:`2 / \lambda_{\max}` leaves the minimum. Needs
    ``pip install "optax-lookbehind[curvature]"``.

    Args:
      loss_fn: ``(params, batch) -> scalar``; it decides in which mode BatchNorm runs. Evaluation
        mode, unless the coupling of a batch's examples is part of the question.
      params: the weights.
      batches: the minibatches, arrays of shape (number, m, ...).
      number: how many eigenvalues, >= 1.
      iterations: Hessian-vector products to spend, >= ``number``; no more than there are weights
        are used, and those are exact up to rounding. Fewer approach the eigenvalues from below,
        the largest first. The program keeps a copy of the weights for each iteration.
      key: a ``jax.random.key``, or a seed, for the vector that the iteration starts from.

    Returns:
      The eigenvalues in falling order, float32 or wider, shape (number,). One vector finds an
      eigenvalue of any multiplicity once; what a Hessian of few distinct eigenvalues leaves open
      is NaN.

    Raises:
      ImportError: if Matfree is not installed.
      ValueError: if ``number`` or ``iterations`` is not an integer >= 1, ``number`` above the
        iterations or the number of weights, or the arrays in ``batches`` disagree on the number of
        minibatches.

    References:
      Lanczos, An Iteration Method for the Solution of the Eigenvalue Problem, 1950; Ghorbani et
      al., `An Investigation into Neural Net Optimization via Hessian Eigenvalue Density
      <https://arxiv.org/abs/1901.10159>`_, ICML 2019.
    """
    _matfree("decomp")
    check_batches(batches)
    number = check_count("number", number)
    iterations = min(check_count("iterations", iterations), optax.tree.size(params))
    if number > iterations:
        raise ValueError(
            f"number must be at most the number of iterations and of weights, here {iterations}, "
            f"got {number}."
        )
    return _eigenvalues(loss_fn, params, batches, number, iterations, as_key(key))


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
      batches: the minibatches, arrays of shape (number, m, ...).
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


@functools.partial(jax.jit, static_argnames=("loss_fn", "number", "iterations"))
def _eigenvalues(
    loss_fn: LossFn,
    params: optax.Params,
    batches: Any,
    number: int,
    iterations: int,
    key: jax.Array,
) -> jax.Array:
    tridiagonalize = _matfree("decomp").tridiag_sym(iterations, materialize=False)
    # One dtype for all leaves: orthonormal up to the rounding errors of that one.
    dtype = scalar_dtype(params)
    start = optax.tree.random_like(key, optax.tree.cast(params, dtype), jax.random.normal)

    def product(vector: Any) -> Any:
        return optax.tree.cast(hessian_vector_product(loss_fn, params, batches, vector), dtype)

    # Accelerators would round to a third of the digits, and the vectors lose their right angles.
    with jax.default_matmul_precision("highest"):
        vectors, (diagonal, off_diagonal), *_ = tridiagonalize(product, start)
        found = _orthonormal(vectors) & jnp.cumprod(jnp.isfinite(diagonal)).astype(bool)
    return _tridiagonal_eigenvalues(diagonal, off_diagonal, found)[:number]


def _orthonormal(vectors: Any) -> jax.Array:
    """For each Lanczos vector, whether it and all before are orthonormal.

    Once they span all that the Hessian makes of the first, the next one is made of rounding errors,
    or of NaNs after a division by zero.
    """
    leaves = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(vectors)]
    products = jnp.tril(sum(leaf @ leaf.T for leaf in leaves))
    errors = jnp.max(jnp.abs(products - jnp.eye(len(products), dtype=products.dtype)), axis=1)
    return jnp.cumprod(errors < jnp.sqrt(jnp.finfo(errors.dtype).eps)).astype(bool)


def _tridiagonal_eigenvalues(
    diagonal: jax.Array, off_diagonal: jax.Array, found: jax.Array
) -> jax.Array:
    """In falling order, of the leading block that Lanczos found; NaN for the rest."""
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
    sampler = stochtrace.sampler_signs(accumulable(params), num=1)
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
