"""Layers of the convolutional networks."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from experiments.models import initializers


@dataclass(frozen=True)
class Layers:
    """Makes the layers of one network.

    Attributes:
      scheme: initializers.
      dtype: type of the computation. Weights, batch statistics and logits are float32 in any case.
      rngs: keys for the initial weights.
    """

    scheme: initializers.Scheme
    dtype: DTypeLike
    rngs: nnx.Rngs

    def conv(
        self, channels_in: int, channels: int, size: int, stride: int = 1, bias: bool = False
    ) -> nnx.Conv:
        """A convolution; height and width are divided by the stride, rounded up."""
        return nnx.Conv(
            channels_in,
            channels,
            (size, size),
            stride,
            padding=size // 2,
            use_bias=bias,
            kernel_init=self.scheme.conv,
            bias_init=self.scheme.bias(size**2 * channels_in),
            dtype=self.dtype,
            rngs=self.rngs,
        )

    def norm(self, channels: int) -> nnx.BatchNorm:
        """A BatchNorm with PyTorch's momentum of 0.1 (Flax: 1 - 0.1 = 0.9).

        Flax's running variance is the biased one; PyTorch's is n / (n - 1) times that.
        """
        return nnx.BatchNorm(
            channels,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
            promote_dtype=_keep_float32,  # type: ignore[arg-type]
            rngs=self.rngs,
        )

    def classifier(self, features: int, num_classes: int) -> nnx.Linear:
        """A linear layer to logits, in float32."""
        return nnx.Linear(
            features,
            num_classes,
            kernel_init=initializers.UNIFORM,
            bias_init=self.scheme.bias(features),
            dtype=jnp.float32,
            rngs=self.rngs,
        )


def image_mean(x: jax.Array) -> jax.Array:
    """Mean over height and width, in float32: ``[batch, feature]`` for a classifier."""
    return x.mean(axis=(1, 2), dtype=jnp.float32)


def pad_channels(x: jax.Array, channels: int) -> jax.Array:
    """Appends channels of zeros: the shortcut without parameters of He et al., 2016 (option A)."""
    return jnp.pad(x, [(0, 0)] * 3 + [(0, channels - x.shape[-1])])


def _keep_float32(arrays: tuple[Any, ...], *, dtype: DTypeLike) -> tuple[Any, ...]:
    """Makes BatchNorm normalize in float32: Flax would round its statistics to ``dtype`` first."""
    del dtype
    return arrays
