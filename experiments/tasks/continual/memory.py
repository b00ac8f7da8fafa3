"""Replay memory: a reservoir of past examples in arrays of fixed size, under ``jax.jit``."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.data.dataset import PADDING, Examples


class Memory(NamedTuple):
    """A uniform sample of all examples seen so far.

    Attributes:
      images: ``[slot, height, width, channel]``, as they were trained on, uint8.
      labels: ``[slot]``, int32.
      seen: number of examples offered so far; the first ``min(seen, slots)`` slots are filled.
    """

    images: jax.Array
    labels: jax.Array
    seen: jax.Array


def empty(capacity: int, image_shape: tuple[int, int, int], dtype: str = "uint8") -> Memory:
    """A memory of ``capacity`` slots, all of them free."""
    return Memory(
        jnp.zeros((capacity, *image_shape), dtype),
        jnp.full(capacity, PADDING, jnp.int32),
        jnp.zeros([], jnp.int32),
    )


def push(memory: Memory, key: jax.Array, batch: Examples, store: jax.Array | bool = True) -> Memory:
    """Offers a batch to the reservoir (Vitter, 1985, Algorithm R), all examples at once.

    Example number ``s``, from 0, takes the next free slot, or else slot ``randint(0, s + 1)`` if
    there is one of that number. After n examples each is in the memory with probability
    ``slots / n``, whatever the size of the batches.

    Args:
      memory: the memory.
      key: PRNG key of the slots.
      batch: images and labels.
      store: a bool, possibly traced; False returns the memory unchanged.
    """
    capacity, count = len(memory.labels), len(batch.labels)
    position = memory.seen + jnp.arange(count)
    # A key for each example of the stream, not of the batch.
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, position)
    drawn = jax.vmap(lambda key, high: jax.random.randint(key, (), 0, high))(keys, position + 1)
    slot = jnp.where(position < capacity, position, drawn)
    # JAX leaves the order of duplicate writes undefined: only the last one of a slot is written,
    # as it is when examples come one by one.
    later = jnp.arange(count)[None] > jnp.arange(count)[:, None]
    overwritten = jnp.any((slot[:, None] == slot[None]) & later, axis=1)
    slot = jnp.where(store & ~overwritten, slot, capacity)  # out of bounds: dropped
    return Memory(
        memory.images.at[slot].set(batch.images.astype(memory.images.dtype), mode="drop"),
        memory.labels.at[slot].set(batch.labels, mode="drop"),
        memory.seen + jnp.where(store, count, 0),
    )


def sample(memory: Memory, key: jax.Array, count: int) -> Examples:
    """Draws examples independently and uniformly, with replacement, as La-MAML's code does.

    There are ``min(count, filled slots)`` of them; the rest of the ``count`` rows are labelled
    ``PADDING``.
    """
    filled = jnp.minimum(memory.seen, len(memory.labels))
    slot = jax.random.randint(key, (count,), 0, jnp.maximum(filled, 1))
    present = jnp.arange(count) < filled
    return Examples(memory.images[slot], jnp.where(present, memory.labels[slot], PADDING))
