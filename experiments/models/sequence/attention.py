"""Multi-head attention whose keys and values are projected apart from the queries."""

from functools import partial

import jax
from flax import nnx
from jax.typing import DTypeLike

from experiments.models import initializers

KeysAndValues = tuple[jax.Array, jax.Array]


class Attention(nnx.Module):
    """Attention of queries to a memory (Vaswani et al., 2017, section 3.2.2), with biases.

    ``nnx.MultiHeadAttention`` projects the memory in each call. Here a decoder projects it once for
    all target positions, and keeps the projections of earlier positions.

    Args:
      width: features of queries, memory and result.
      heads: number of heads.
      dtype: type of the computation.
      rngs: keys for the initial weights.

    Raises:
      ValueError: unless ``heads`` divides ``width``.
    """

    def __init__(self, width: int, heads: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide the width {width}, got {heads}.")
        linear = partial(nnx.Linear, width, width, dtype=dtype, rngs=rngs)
        self.query = linear(kernel_init=initializers.FAIRSEQ_QKV)
        self.key = linear(kernel_init=initializers.FAIRSEQ_QKV)
        self.value = linear(kernel_init=initializers.FAIRSEQ_QKV)
        self.out = linear(kernel_init=initializers.FAIRSEQ_DENSE)
        self.heads = heads

    def project(self, memory: jax.Array) -> KeysAndValues:
        """Keys and values of ``[batch, position, feature]``, with the features split into heads."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def __call__(self, x: jax.Array, memory: KeysAndValues, mask: jax.Array) -> jax.Array:
        """Attends from ``x``, ``[batch, query, feature]``, to a projected memory.

        ``mask`` broadcasts to ``[batch, head, query, position]``; False hides a position.
        """
        y = jax.nn.dot_product_attention(self._split(self.query(x)), *memory, mask=mask)
        return self.out(y.reshape(x.shape))

    def _split(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-1], self.heads, -1)
