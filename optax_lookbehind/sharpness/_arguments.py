"""Checks of the arguments that the measures share."""

from typing import Any

import jax
import jax.numpy as jnp

from optax_lookbehind._arguments import check_scalar


def check_batches(batches: Any) -> int:
    """The number of minibatches in ``batches``; raises unless all arrays agree on it."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(batches)]
    numbers = {shape[0] if shape else 0 for shape in shapes}
    if len(numbers) != 1 or 0 in numbers:
        raise ValueError(
            "batches must be a pytree of arrays with one leading axis in common, which counts the "
            f"minibatches and has at least one; got arrays of shapes {shapes}."
        )
    return numbers.pop()


def as_numbers(name: str, values: Any, low: float, high: float, ends: str, dtype: Any) -> jax.Array:
    """``values`` as a vector; raises unless each is in the interval, as for ``check_scalar``."""
    vector = jnp.asarray(values, dtype)
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(
            f"{name} must be a sequence of at least one number, got {values!r}, which has the "
            f"shape {vector.shape}."
        )
    if not isinstance(vector, jax.core.Tracer):
        for i, value in enumerate(vector.tolist()):
            check_scalar(f"{name}[{i}]", value, low, high, ends)
    return vector
