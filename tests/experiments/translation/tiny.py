"""A tiny Transformer in float64, and sentences for it."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.data.text.tokens import EOS, PAD
from experiments.decoding.cached_decoder import decode_step, empty_cache, make_memory
from experiments.models.sequence.transformer import Transformer

SIZES = {"width": 8, "hidden": 12, "heads": 2, "layers": 1}


@cache
def make_model(vocabulary=11, *, seed=0, dropout=0.0, pre_norm=False, layers=1):
    """In eval mode; weights are scaled up, so that attention is far from uniform."""

    @partial(jax.jit, static_argnums=0)
    def init(seed):
        model = Transformer(
            vocabulary,
            vocabulary,
            dropout=dropout,
            pre_norm=pre_norm,
            dtype=jnp.float64,
            rngs=nnx.Rngs(seed),
            **SIZES | {"layers": layers},
        )
        model.eval()
        graphdef, state = nnx.split(model)
        graph.append(graphdef)
        return jax.tree.map(lambda w: 2 * w.astype(jnp.float64), state)

    graph = []
    state = init(seed)
    return nnx.merge(graph[0], state)


@nnx.jit
def forward(model, source, target):
    """Logits by the full forward pass."""
    return model(source, target)


@nnx.jit
def cached_forward(model, source, targets):
    """Logits of ``[sentence, beam, position]`` targets, one position at a time."""
    memory, graphdef_and_state = make_memory(model, source), nnx.split(model)
    _, beam, length = targets.shape

    def step(cache, position):
        model = nnx.merge(*graphdef_and_state)
        logits, cache = decode_step(model, memory, targets[:, :, position], position, cache)
        return cache, logits

    _, logits = jax.lax.scan(step, empty_cache(memory, beam, length), jnp.arange(length))
    return jnp.moveaxis(logits, 0, 2)


def sentences(lengths, width, *, vocabulary=11, seed=0):
    """Random tokens, one row a length, each with the end token and padded with 0."""
    rng = np.random.default_rng(seed)
    rows = np.full((len(lengths), width), PAD, np.int32)
    for row, length in zip(rows, lengths, strict=True):
        row[: length - 1] = rng.integers(4, vocabulary, length - 1)
        row[length - 1] = EOS
    return rows
