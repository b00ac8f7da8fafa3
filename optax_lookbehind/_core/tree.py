"""Sums and products over pytrees of weights, accumulated in float32 or better."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def as_accumulator(tree: Any) -> Any:
    """``tree`` with leaves below 32 bits widened to float32, so that sums keep small terms."""
    return jax.tree.map(
        lambda x: jnp.asarray(x, jnp.promote_types(jnp.result_type(x), jnp.float32)), tree
    )


def scalar_dtype(tree: Any) -> jnp.dtype:
    """The real dtype, float32 or wider, that holds a scalar computed from all of ``tree``."""
    leaves = jax.tree.leaves(jax.eval_shape(lambda t: optax.tree.real(as_accumulator(t)), tree))
    return jnp.result_type(jnp.float32, *(leaf.dtype for leaf in leaves))


def norm(tree: Any) -> jax.Array:
    """The L2 norm over all leaves."""
    return optax.tree.norm(as_accumulator(tree))


def squared_norm(tree: Any) -> jax.Array:
    """The squared L2 norm over all leaves."""
    return optax.tree.norm(as_accumulator(tree), squared=True)


def dot(first: Any, second: Any) -> jax.Array:
    """The real inner product over all leaves."""
    # Not optax.tree.vdot: raveling a sharded array gathers it on every device.
    first, second = as_accumulator(first), as_accumulator(second)
    products = jax.tree.map(lambda a, b: jnp.sum(jnp.real(jnp.conj(a) * b)), first, second)
    return optax.tree.sum(products)


def divide(numerator: Any, denominator: jax.Array) -> jax.Array:
    """``numerator / denominator``; 0, not NaN, where the denominator is exactly zero."""
    return jnp.where(denominator == 0, 0, numerator / jnp.where(denominator == 0, 1, denominator))


def scale_by(factor: Any, tree: Any) -> Any:
    """``factor * tree``, ``factor`` being a scalar or a pytree with a scalar for each leaf."""
    if isinstance(factor, jax.Array):
        return optax.tree.scale(factor, tree)
    return optax.tree.mul(factor, tree)
