"""Random keys in states: kept as their data, plain integers that every serializer can write."""

import jax
import jax.numpy as jnp

from optax_lookbehind._core.checks import check_key


def as_key(key: int | jax.Array) -> jax.Array:
    """A ``jax.random.key`` from a seed, or a clone of the key: the state may be donated."""
    check_key(key)
    return jax.random.clone(key) if _is_typed(key) else jax.random.key(key)


def key_data(key: int | jax.Array) -> jax.Array:
    """The integers of :func:`as_key`, for a state."""
    return jax.random.key_data(as_key(key))


def split(data: jax.Array, key: int | jax.Array) -> tuple[jax.Array, jax.Array]:
    """The next data for the state, and a key to draw with.

    Args:
      data: what the state holds.
      key: the seed or key that it began with, of which only the kind of generator matters.
    """
    impl = jax.random.key_impl(key) if _is_typed(key) else None  # None: the default generator
    next_key, draw = jax.random.split(jax.random.wrap_key_data(data, impl=impl))
    return jax.random.key_data(next_key), draw


def _is_typed(key: int | jax.Array) -> bool:
    return isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
