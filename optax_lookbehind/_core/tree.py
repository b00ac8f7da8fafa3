"""Arithmetic on pytrees of weights, with sums accumulated in float32 or better.

Scalars in float32 meet leaves in bfloat16 here, on purpose. :func:`standard_promotion` keeps that
working under ``jax.numpy_dtype_promotion("strict")``; it is for the library's own arithmetic only,
so that functions of the user run under the user's setting.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import optax

_P = ParamSpec("_P")
_R = TypeVar("_R")


def standard_promotion(fn: Callable[_P, _R]) -> Callable[_P, _R]:
    """Runs ``fn`` under JAX's standard type promotion, whatever the user has set."""

    @functools.wraps(fn)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with jax.numpy_dtype_promotion("standard"):
            return fn(*args, **kwargs)

    return run


add = standard_promotion(optax.tree.add)
add_scale = standard_promotion(optax.tree.add_scale)
apply_updates = standard_promotion(optax.apply_updates)
mul = standard_promotion(optax.tree.mul)
scale = standard_promotion(optax.tree.scale)
sub = standard_promotion(optax.tree.sub)


@standard_promotion
def as_accumulator(tree: Any) -> Any:
    """``tree`` with leaves below 32 bits widened to float32, so that sums keep small terms."""
    return jax.tree.map(
        lambda x: jnp.asarray(x, jnp.promote_types(jnp.result_type(x), jnp.float32)), tree
    )


@standard_promotion
def scalar_dtype(tree: Any) -> jnp.dtype:
    """The real dtype, float32 or wider, that holds a scalar computed from all of ``tree``."""
    leaves = jax.tree.leaves(jax.eval_shape(lambda t: optax.tree.real(as_accumulator(t)), tree))
    return jnp.result_type(jnp.float32, *(leaf.dtype for leaf in leaves))


@standard_promotion
def norm(tree: Any) -> jax.Array:
    """The L2 norm over all leaves."""
    squared = squared_norm(tree)
    zero = squared == 0
    # Two where's: the derivative of sqrt at 0 is infinite, and infinity times 0 is NaN.
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squared)))


@standard_promotion
def squared_norm(tree: Any) -> jax.Array:
    """The squared L2 norm over all leaves."""
    return optax.tree.norm(as_accumulator(tree), squared=True)


@standard_promotion
def dot(first: Any, second: Any) -> jax.Array:
    """The real inner product over all leaves."""
    # Not optax.tree.vdot: raveling a sharded array gathers it on every device.
    first, second = as_accumulator(first), as_accumulator(second)
    products = jax.tree.map(lambda a, b: jnp.sum(jnp.real(jnp.conj(a) * b)), first, second)
    return optax.tree.sum(products)


@standard_promotion
def divide(numerator: Any, denominator: jax.Array) -> jax.Array:
    """``numerator / denominator``; 0, not NaN, where the denominator is exactly zero."""
    return jnp.where(denominator == 0, 0, numerator / jnp.where(denominator == 0, 1, denominator))


def scale_by(factor: jax.Array, tree: Any) -> Any:
    """``factor * tree``, ``factor`` being a scalar or a vector with an element for each leaf."""
    if factor.ndim == 0:
        return scale(factor, tree)
    leaves, treedef = jax.tree.flatten(tree)
    scaled = [scale(factor[j], leaf) for j, leaf in enumerate(leaves)]
    return jax.tree.unflatten(treedef, scaled)
