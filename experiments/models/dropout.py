"""Dropout in models whose only state is weights and BatchNorm statistics.

Flax layers keep streams of random keys, which change in every call. Here the streams are removed
when a model is built, and inserted again from one key before each pass of a training step.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from flax import nnx


class _Removed(NamedTuple):
    """Placeholder in a layer for the streams that were removed.

    Attributes:
      tag: name of the stream; None for a whole ``nnx.Rngs``.
    """

    tag: str | None


def remove_streams(model: nnx.Module) -> None:
    """Removes the random streams of all layers, in place."""
    for layer, name, value in _attributes(model):
        if isinstance(value, nnx.Rngs):
            setattr(layer, name, nnx.static(_Removed(None)))
        elif isinstance(value, nnx.RngStream):
            setattr(layer, name, nnx.static(_Removed(value.tag)))


def insert_streams(model: nnx.Module, key: jax.Array) -> None:
    """Gives each layer a stream of its own again, drawn from ``key``, in place."""
    removed = [x for x in _attributes(model) if isinstance(x[2], _Removed)]
    for number, (layer, name, stream) in enumerate(removed):
        own_key = jax.random.fold_in(key, number)
        streams = (
            nnx.Rngs(own_key) if stream.tag is None else nnx.RngStream(own_key, tag=stream.tag)
        )
        setattr(layer, name, nnx.data(streams))


def _attributes(model: nnx.Module) -> Iterator[tuple[nnx.Module, str, Any]]:
    for _, layer in nnx.iter_modules(model):
        for name, value in list(vars(layer).items()):
            yield layer, name, value
