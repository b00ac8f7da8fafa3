"""One position at a time through a Transformer's decoder, with a cache of earlier positions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.models.sequence.attention import Attention, KeysAndValues
from experiments.models.sequence.transformer import PADDING, Transformer


class Memory(NamedTuple):
    """The encoded source, projected for each decoder layer; shared by all beams of a sentence.

    Attributes:
      layers: keys and values of each decoder layer's attention to the source.
      mask: ``[sentence, position]``, False on padding.
    """

    layers: list[KeysAndValues]
    mask: jax.Array


Cache = list[KeysAndValues]  # of each layer's self-attention: [sentence, beam, position, head, ...]


def make_memory(model: Transformer, source: jax.Array) -> Memory:
    """Encodes ``[sentence, position]`` tokens and projects them for each decoder layer."""
    encoded = model.encode(source)
    projected = [layer.cross_attention.project(encoded) for layer in model.decoder]
    return Memory(projected, source != PADDING)


def empty_cache(memory: Memory, beam: int, length: int) -> Cache:
    """A cache for ``beam`` hypotheses per sentence with up to ``length`` positions."""

    def zeros(projected: jax.Array) -> jax.Array:
        sentences, _, *features = projected.shape
        return jnp.zeros((sentences, beam, length, *features), projected.dtype)

    return jax.tree.map(zeros, memory.layers)


def decode_step(
    model: Transformer, memory: Memory, tokens: jax.Array, position: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache]:
    """Logits of the tokens that follow ``tokens``.

    Args:
      model: in eval mode.
      memory: of :func:`make_memory`.
      tokens: ``[sentence, beam]``, the tokens at ``position``.
      position: int32 scalar, from 0.
      cache: keys and values of the positions before.

    Returns:
      ``[sentence, beam, token]`` logits and the cache with this position.
    """
    x = model.embed_target(tokens, position)
    new_cache = []
    for layer, (keys, values), kv in zip(model.decoder, cache, memory.layers, strict=True):
        updated: list[KeysAndValues] = []

        def attend(y: jax.Array) -> jax.Array:
            updated.append(_write(layer.attention, y, (keys, values), position))
            return _attend_to_cache(layer.attention, y, updated[0], position)

        # The beams of a sentence are the queries of its attention to the source.
        x = layer(x, attend, kv, memory.mask[:, None, None, :], None)
        new_cache += updated
    return model.logits(x), new_cache


def _write(
    attention: Attention, y: jax.Array, cache: KeysAndValues, position: jax.Array
) -> KeysAndValues:
    """The cache with keys and values of ``y``, ``[sentence, beam, feature]``, at a position."""

    def write(cached: jax.Array, new: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(cached, new[:, :, None], position, axis=2)

    return jax.tree.map(write, cache, attention.project(y))


def _attend_to_cache(
    attention: Attention, y: jax.Array, cache: KeysAndValues, position: jax.Array
) -> jax.Array:
    """Self-attention of each hypothesis to its own earlier positions."""

    def flat(x: jax.Array) -> jax.Array:
        return x.reshape(-1, *x.shape[2:])

    mask = jnp.arange(cache[0].shape[2]) <= position
    result = attention(flat(y)[:, None], jax.tree.map(flat, cache), mask)
    return result.reshape(y.shape)
