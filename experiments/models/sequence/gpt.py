"""A small GPT: a decoder-only Transformer whose layers are scanned and rematerialized."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

_STDDEV = 0.02  # of initial weights, as in GPT-2


class Block(nnx.Module):
    """Causal self-attention and a perceptron, each normalized before and added to its input."""

    def __init__(self, width: int, heads: int, layers: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        norm = partial(nnx.LayerNorm, width, dtype=dtype, rngs=rngs)
        linear = partial(
            nnx.Linear, kernel_init=nnx.initializers.normal(_STDDEV), dtype=dtype, rngs=rngs
        )
        # GPT-2: the sum of 2 * layers residuals has the variance of one.
        residual = partial(
            linear, kernel_init=nnx.initializers.normal(_STDDEV / (2 * layers) ** 0.5)
        )
        self.norm1, self.norm2 = norm(), norm()
        self.query_key_value = linear(width, 3 * width)
        self.out = residual(width, width)
        self.dense1, self.dense2 = linear(width, 4 * width), residual(4 * width, width)
        self.heads = heads

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, position, feature]`` to the same shape."""
        x = x + self._attend(self.norm1(x))
        return x + self.dense2(nnx.gelu(self.dense1(self.norm2(x))))

    def _attend(self, x: jax.Array) -> jax.Array:
        features = self.query_key_value(x).reshape(*x.shape[:-1], 3, self.heads, -1)
        query, key, value = jnp.moveaxis(features, -3, 0)
        y = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        return self.out(y.reshape(x.shape))


class GPT(nnx.Module):
    """Predicts each next token (Radford et al., 2019), with learned positions.

    The output shares the embedding of the input. The weights of all blocks are stacked, the layer
    being the leading axis: one block is compiled, whatever their number is, and where weights are
    sharded only one layer's are gathered at a time. The backward pass computes each block's
    activations again.

    Args:
      vocabulary: number of tokens.
      length: largest number of positions.
      width: features of a token.
      heads: number of attention heads.
      layers: number of blocks.
      dtype: type of the computation; weights are float32.
      rngs: keys for the initial weights.

    Raises:
      ValueError: unless ``heads`` divides ``width``.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        length: int,
        width: int,
        heads: int,
        layers: int,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide the width {width}, got {heads}.")
        embed = partial(
            nnx.Embed,
            features=width,
            embedding_init=nnx.initializers.normal(_STDDEV),
            dtype=dtype,
            rngs=rngs,
        )
        self.tokens, self.positions = embed(vocabulary), embed(length)

        @nnx.vmap
        def make_blocks(key: jax.Array) -> Block:
            return Block(width, heads, layers, dtype=dtype, rngs=nnx.Rngs(key))

        self.blocks = make_blocks(jax.random.split(rngs.params(), layers))
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Logits ``[batch, position, token]`` of the token after each position, float32 at least.

        Args:
          tokens: ``[batch, position]``.
        """
        x = self.tokens(tokens) + self.positions(jnp.arange(tokens.shape[1]))
        graphdef, weights = nnx.split(self.blocks)

        @jax.checkpoint
        def block(x: jax.Array, layer: nnx.State) -> tuple[jax.Array, None]:
            return nnx.merge(graphdef, layer)(x), None

        x, _ = jax.lax.scan(block, x, weights)
        x = self.norm(x)
        embedding = self.tokens.embedding[...].astype(x.dtype)
        accumulator = jnp.promote_types(x.dtype, jnp.float32)
        return jnp.matmul(x, embedding.T, preferred_element_type=accumulator)
