"""SAMformer (Ilbert et al., 2024): forecasts by attention between channels, or linearly."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from experiments.models import initializers

_EPSILON = 1e-5  # of RevIN, as in its authors' code


class RevIN(nnx.Module):
    """Reversible instance normalization (Kim et al., 2022), with a scale and a bias per channel."""

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def normalize(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Normalizes ``[..., time, channel]`` over time; also returns mean and deviation."""
        mean = x.mean(-2, keepdims=True)
        deviation = jnp.sqrt(x.var(-2, keepdims=True) + _EPSILON)
        return (x - mean) / deviation * self.scale[...] + self.bias[...], mean, deviation

    def restore(self, y: jax.Array, mean: jax.Array, deviation: jax.Array) -> jax.Array:
        """Maps normalized values of another span of time back to the level of the series."""
        return (y - self.bias[...]) / self.scale[...] * deviation + mean


class SAMformer(nnx.Module):
    """A layer of attention between the channels, and one linear map from look-back to horizon.

    The tokens are the channels, their features the steps of the look-back; there is one head, and
    neither LayerNorm nor a perceptron. Initial weights are those of Keras 2, which the authors'
    code runs on. Dropout is this project's addition: the code has none.

    Args:
      lookback: number of steps that the model sees.
      horizon: number of steps that it predicts.
      channels: number of channels.
      width: features of queries, keys and values.
      attention: whether there is attention; without, the model is RevIN and the linear map, the
        same for all channels.
      dropout: probability of dropping an input of the linear map.
      dtype: type of the computation, but for RevIN's, which is that of the series; weights are
        float32.
      rngs: keys for the initial weights.
    """

    def __init__(
        self,
        lookback: int,
        horizon: int,
        channels: int,
        *,
        width: int = 16,
        attention: bool = True,
        dropout: float = 0.0,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        linear = partial(nnx.Linear, dtype=dtype, rngs=rngs)
        self.norm = RevIN(channels)
        self.attends = attention
        if attention:
            project = partial(linear, lookback, width, kernel_init=initializers.keras2_one_head)
            self.query, self.key, self.value = project(), project(), project()
            self.out = linear(width, lookback, kernel_init=initializers.KERAS_DENSE)
        self.dropout = nnx.Dropout(dropout)
        self.head = linear(lookback, horizon, kernel_init=initializers.KERAS_DENSE)

    def __call__(self, x: jax.Array, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Maps ``[example, time, channel]`` to the steps that follow, float32 at least.

        ``rngs`` is for dropout, in train mode only.
        """
        normalized, mean, deviation = self.norm.normalize(x)
        tokens = normalized.swapaxes(-2, -1)
        if self.attends:
            tokens = tokens + self.out(self._weights(tokens) @ self.value(tokens))
        y = self.head(self.dropout(tokens, rngs=rngs)).swapaxes(-2, -1)
        return self.norm.restore(y.astype(x.dtype), mean, deviation)

    def attention(self, x: jax.Array) -> jax.Array:
        """The weights of the attention, ``[example, to, from]`` in channels, each row of sum 1."""
        normalized, *_ = self.norm.normalize(x)
        return self._weights(normalized.swapaxes(-2, -1))

    def _weights(self, tokens: jax.Array) -> jax.Array:
        query, key = self.query(tokens), self.key(tokens)
        return jax.nn.softmax(query @ key.swapaxes(-2, -1) / query.shape[-1] ** 0.5)
