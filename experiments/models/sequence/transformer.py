"""The encoder-decoder Transformer of machine translation (Vaswani et al., 2017)."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from experiments.models import initializers
from experiments.models.sequence.attention import Attention, KeysAndValues

PADDING = 0  # the padding token

_EPSILON = 1e-5  # PyTorch's LayerNorm

Layer = TypeVar("Layer", bound=nnx.Module)


class Sublayer(nnx.Module):
    """The residual connection around attention or a perceptron, with dropout and LayerNorm.

    ``norm(x + dropout(f(x)))`` (post-norm), or ``x + dropout(f(norm(x)))`` (pre-norm).
    """

    def __init__(
        self, width: int, *, dropout: float, pre_norm: bool, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        self.norm = nnx.LayerNorm(width, epsilon=_EPSILON, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.pre_norm = pre_norm

    def __call__(
        self, x: jax.Array, f: Callable[[jax.Array], jax.Array], rngs: nnx.Rngs | None
    ) -> jax.Array:
        """Applies ``f``; ``rngs`` is for dropout, in train mode only."""
        if self.pre_norm:
            return x + self.dropout(f(self.norm(x)), rngs=rngs)
        return self.norm(x + self.dropout(f(x), rngs=rngs))


class Perceptron(nnx.Module):
    """Two linear layers with a ReLU between them, on each position."""

    def __init__(self, width: int, hidden: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        linear = partial(nnx.Linear, kernel_init=initializers.FAIRSEQ_DENSE, dtype=dtype, rngs=rngs)
        self.dense1 = linear(width, hidden)
        self.dense2 = linear(hidden, width)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[..., feature]`` to the same shape."""
        return self.dense2(nnx.relu(self.dense1(x)))


class EncoderLayer(nnx.Module):
    """Self-attention and a perceptron."""

    def __init__(
        self,
        width: int,
        hidden: int,
        heads: int,
        sublayer: Callable[[], Sublayer],
        *,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.attention = Attention(width, heads, dtype=dtype, rngs=rngs)
        self.perceptron = Perceptron(width, hidden, dtype=dtype, rngs=rngs)
        self.around_attention, self.around_perceptron = sublayer(), sublayer()

    def __call__(self, x: jax.Array, mask: jax.Array, rngs: nnx.Rngs | None) -> jax.Array:
        """Maps ``[batch, position, feature]`` to the same shape."""

        def attend(y: jax.Array) -> jax.Array:
            return self.attention(y, self.attention.project(y), mask)

        x = self.around_attention(x, attend, rngs)
        return self.around_perceptron(x, self.perceptron, rngs)


class DecoderLayer(nnx.Module):
    """Self-attention, attention to the source, and a perceptron."""

    def __init__(
        self,
        width: int,
        hidden: int,
        heads: int,
        sublayer: Callable[[], Sublayer],
        *,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.attention = Attention(width, heads, dtype=dtype, rngs=rngs)
        self.cross_attention = Attention(width, heads, dtype=dtype, rngs=rngs)
        self.perceptron = Perceptron(width, hidden, dtype=dtype, rngs=rngs)
        self.around_attention, self.around_cross_attention = sublayer(), sublayer()
        self.around_perceptron = sublayer()

    def __call__(
        self,
        x: jax.Array,
        attend: Callable[[jax.Array], jax.Array],
        memory: KeysAndValues,
        mask: jax.Array,
        rngs: nnx.Rngs | None,
    ) -> jax.Array:
        """Maps ``[batch, position, feature]`` to the same shape.

        Args:
          x: the target positions.
          attend: self-attention: over all earlier positions, or over cached ones.
          memory: the projected source.
          mask: False on the source's padding.
          rngs: for dropout.
        """

        def attend_to_source(y: jax.Array) -> jax.Array:
            return self.cross_attention(y, memory, mask)

        x = self.around_attention(x, attend, rngs)
        x = self.around_cross_attention(x, attend_to_source, rngs)
        return self.around_perceptron(x, self.perceptron, rngs)


class Transformer(nnx.Module):
    """Encoder and decoder with sinusoidal positions; the output shares the decoder's embedding.

    With width 512, hidden 1024, 4 heads and 6 layers it is fairseq's ``transformer_iwslt_de_en``
    with ``--share-decoder-input-output-embed``, initial weights included. Weights are float32,
    whatever ``dtype`` is, and so are the logits. Token 0 is padding.

    Args:
      source_vocabulary: number of source tokens.
      target_vocabulary: number of target tokens.
      width: features of a token.
      hidden: features between the two layers of a perceptron.
      heads: number of attention heads.
      layers: number of encoder layers, and of decoder layers.
      dropout: rate on embeddings and on each sublayer's output.
      pre_norm: normalize before each sublayer, and once at the end of encoder and decoder.
      share_embeddings: one embedding for source and target, which then share a vocabulary.
      dtype: type of the computation.
      rngs: keys for the initial weights.

    Raises:
      ValueError: unless ``heads`` divides ``width`` and ``width`` is even; if embeddings are shared
        between vocabularies of two sizes.
    """

    def __init__(
        self,
        source_vocabulary: int,
        target_vocabulary: int,
        *,
        width: int = 512,
        hidden: int = 1024,
        heads: int = 4,
        layers: int = 6,
        dropout: float = 0.3,
        pre_norm: bool = False,
        share_embeddings: bool = False,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if width % 2:
            raise ValueError(f"width must be even, got {width}.")
        if share_embeddings and source_vocabulary != target_vocabulary:
            raise ValueError(
                "share_embeddings needs one vocabulary, got "
                f"{source_vocabulary} source and {target_vocabulary} target tokens."
            )
        embed = partial(
            nnx.Embed,
            features=width,
            embedding_init=initializers.fairseq_embedding(PADDING),
            dtype=dtype,
            rngs=rngs,
        )
        self.target_embedding = embed(target_vocabulary)
        self.source_embedding = None if share_embeddings else embed(source_vocabulary)
        sublayer = partial(
            Sublayer, width, dropout=dropout, pre_norm=pre_norm, dtype=dtype, rngs=rngs
        )

        def layer(kind: Callable[..., Layer]) -> Layer:
            return kind(width, hidden, heads, sublayer, dtype=dtype, rngs=rngs)

        self.encoder = nnx.List(layer(EncoderLayer) for _ in range(layers))
        self.decoder = nnx.List(layer(DecoderLayer) for _ in range(layers))
        norm = partial(nnx.LayerNorm, width, epsilon=_EPSILON, dtype=dtype, rngs=rngs)
        self.encoder_norm = norm() if pre_norm else None
        self.decoder_norm = norm() if pre_norm else None
        self.dropout = nnx.Dropout(dropout)
        self.width, self.dtype = width, dtype

    def __call__(
        self, source: jax.Array, target: jax.Array, rngs: nnx.Rngs | None = None
    ) -> jax.Array:
        """Logits ``[batch, target position, token]`` of each next token.

        Args:
          source: ``[batch, source position]`` tokens.
          target: ``[batch, target position]`` tokens, shifted to the right by a first token.
          rngs: for dropout, in train mode only.
        """
        return self.decode(target, self.encode(source, rngs), source != PADDING, rngs)

    def encode(self, source: jax.Array, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Maps ``[batch, position]`` tokens to ``[batch, position, feature]``."""
        embedding = (
            self.target_embedding if self.source_embedding is None else self.source_embedding
        )
        x = self._embed(embedding, source, jnp.arange(source.shape[1]), rngs)
        mask = _hide_padding(source != PADDING)
        for layer in self.encoder:
            x = layer(x, mask, rngs)
        return x if self.encoder_norm is None else self.encoder_norm(x)

    def decode(
        self,
        target: jax.Array,
        memory: jax.Array,
        source_mask: jax.Array,
        rngs: nnx.Rngs | None = None,
    ) -> jax.Array:
        """Logits of each next token; ``source_mask`` is False where the source is padding."""
        length = target.shape[1]
        x = self._embed(self.target_embedding, target, jnp.arange(length), rngs)
        causal = jnp.tri(length, dtype=bool)
        for layer in self.decoder:
            attention = layer.attention

            def attend(y: jax.Array, attention: Attention = attention) -> jax.Array:
                return attention(y, attention.project(y), causal)

            memory_kv = layer.cross_attention.project(memory)
            x = layer(x, attend, memory_kv, _hide_padding(source_mask), rngs)
        return self.logits(x)

    def embed_target(self, tokens: jax.Array, position: jax.Array) -> jax.Array:
        """The decoder's input for ``[batch, beam]`` tokens that all are at one position."""
        return self._embed(self.target_embedding, tokens, position[None], None)

    def logits(self, x: jax.Array) -> jax.Array:
        """The output layer on the decoder's ``[..., feature]``, in float32 at least."""
        x = x if self.decoder_norm is None else self.decoder_norm(x)
        embedding = self.target_embedding.embedding[...].astype(x.dtype)
        accumulator = jnp.promote_types(x.dtype, jnp.float32)
        return jnp.matmul(x, embedding.T, preferred_element_type=accumulator)

    def _embed(
        self, embedding: nnx.Embed, tokens: jax.Array, positions: jax.Array, rngs: nnx.Rngs | None
    ) -> jax.Array:
        x = embedding(tokens) * self.width**0.5 + sinusoids(positions, self.width).astype(
            self.dtype
        )
        return self.dropout(x, rngs=rngs)


def sinusoids(positions: jax.Array, width: int) -> jax.Array:
    """Position signals ``[position, width]``: all sines, then all cosines, as in fairseq."""
    half = width // 2
    frequencies = 10_000.0 ** (-jnp.arange(half) / max(half - 1, 1))
    angles = positions[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def _hide_padding(mask: jax.Array) -> jax.Array:
    """``[batch, position]`` to a mask that broadcasts over heads and queries."""
    return mask[:, None, None, :]
