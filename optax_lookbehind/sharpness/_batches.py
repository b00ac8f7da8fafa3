"""Minibatches: their checks, and means over them in memory that does not grow with their number."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import check_count, is_traced
from optax_lookbehind._core.cpu_convolutions import call_in_loop
from optax_lookbehind._core.tree import as_accumulator
from optax_lookbehind._core.types import LossFn


def minibatches(examples: Any, m: int) -> Any:
    """Splits a dataset into minibatches of ``m`` examples, the form that every measure takes.

    Change this, where each example would be taken for a minibatch::

      m_sharpness(loss_fn, params, (x, y), radii)

    To::

      m_sharpness(loss_fn, params, minibatches((x, y), m=128), radii)

    The order stays, so shuffle data that is sorted. The last ``len(x) % m`` examples are dropped:
    the measures are means over minibatches of one size.

    Args:
      examples: a pytree of arrays of shape (num_examples, ...).
      m: the number of examples in a minibatch, from 1 to ``num_examples``.

    Returns:
      The pytree with arrays of shape (num_examples // m, m, ...).

    Raises:
      ValueError: if ``m`` is not an integer from 1 to ``num_examples``, or the arrays disagree on
        ``num_examples``.
    """
    m = check_count("m", m)
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(examples)]
    numbers = {shape[0] if shape else 0 for shape in shapes}
    if len(numbers) != 1 or 0 in numbers:
        raise ValueError(
            "examples must be a pytree of arrays with one leading axis in common, which counts the "
            f"examples and has at least one; got arrays of shapes {shapes}."
        )
    (num_examples,) = numbers
    if m > num_examples:
        raise ValueError(f"m must be at most the number of examples, {num_examples}, got {m!r}.")
    whole = num_examples - num_examples % m
    return jax.tree.map(lambda x: x[:whole].reshape(-1, m, *x.shape[1:]), examples)


def check_batches(batches: Any) -> int:
    """Returns the number of minibatches; raises unless all arrays agree on it."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(batches)]
    numbers = {shape[0] if shape else 0 for shape in shapes}
    if len(numbers) != 1 or 0 in numbers:
        raise ValueError(
            "batches must be a pytree of arrays with one leading axis in common, which counts the "
            f"minibatches and has at least one; got arrays of shapes {shapes}."
        )
    return numbers.pop()


def check_minibatch_axis(batches: Any) -> None:
    """Raises if ``batches`` look like arrays of examples, not of minibatches of examples.

    In minibatches, inputs and labels have the second axis in common. Statistics, keys and scalars
    may have another one or none, so that it is enough that two arrays agree.
    """
    leaves = [leaf for leaf in jax.tree.leaves(batches) if not _is_key(leaf)]
    sizes = [jnp.shape(leaf)[1:2] for leaf in leaves]
    if len(leaves) > 1 and len(set(sizes)) == len(sizes):
        raise ValueError(
            "batches must be arrays of shape (num_batches, batch_size, ...), but no two of them "
            f"agree on a batch_size; got arrays of shapes {[jnp.shape(leaf) for leaf in leaves]}. "
            "Split arrays of examples, (num_examples, ...), with sharpness.minibatches(examples, "
            "m)."
        )


def as_vector(name: str, values: Any, check: Callable[[str, Any], None], dtype: Any) -> jax.Array:
    """Returns ``values`` as a vector; raises unless each value passes ``check(name, value)``."""
    vector = jnp.asarray(values, dtype)
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(
            f"{name} must be a sequence of at least one number, got {values!r} with shape "
            f"{vector.shape}."
        )
    if not is_traced(vector):
        for i, value in enumerate(vector.tolist()):
            check(f"{name}[{i}]", value)
    return vector


def mean_over_batches(fn: Callable[[Any], Any], batches: Any) -> Any:
    """The mean of the pytrees ``fn(batch)``, accumulated in float32 or wider."""
    num_batches = check_batches(batches)
    first = jax.tree.map(lambda x: x[0], batches)
    shapes = jax.eval_shape(lambda batch: as_accumulator(fn(batch)), first)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def add(total: Any, batch: Any) -> tuple[Any, None]:
        return optax.tree.add(total, as_accumulator(fn(batch))), None

    total, _ = jax.lax.scan(add, zero, batches)
    return optax.tree.scale(1 / num_batches, total)


def mean_loss(loss_fn: LossFn, params: optax.Params, batches: Any) -> jax.Array:
    """The mean of ``loss_fn`` over the minibatches."""
    return mean_over_batches(lambda batch: call_in_loop(loss_fn, params, batch), batches)


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
