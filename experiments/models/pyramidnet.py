"""PyramidNets (Han et al., 2017, arXiv 1610.02915), for small images."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from experiments.models import initializers
from experiments.models.layers import Layers, image_mean, pad_channels


class Block(nnx.Module):
    """Two 3x3 convolutions between three normalizations, one activation; a shortcut of zeros."""

    def __init__(self, channels_in: int, channels: int, stride: int, layers: Layers):
        self.channels = channels
        self.stride = stride
        self.norm1 = layers.norm(channels_in)
        self.conv1 = layers.conv(channels_in, channels, 3, stride)
        self.norm2 = layers.norm(channels)
        self.conv2 = layers.conv(channels, channels, 3)
        self.norm3 = layers.norm(channels)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channels_in]`` to the block's size and channels."""
        y = self.conv1(self.norm1(x))
        y = nnx.relu(self.norm2(y))
        y = self.norm3(self.conv2(y))
        return y + pad_channels(self._pool(x), self.channels)

    def _pool(self, x: jax.Array) -> jax.Array:
        window = (self.stride, self.stride)
        # An odd height or width is rounded up, as the convolution does.
        mean = nnx.avg_pool(x, window, window, padding="SAME", count_include_pad=False)
        return mean.astype(x.dtype)


class PyramidNet(nnx.Module):
    """PyramidNet of basic blocks, whose channels grow linearly from 16 to 16 + alpha.

    Args:
      num_classes: number of classes.
      channels: channels of the images.
      depth: number of layers, 6n + 2 for n blocks in each of the three stages.
      alpha: how many channels are added from first to last block.
      dtype: type of the computation.
      rngs: keys for the initial weights.

    Raises:
      ValueError: if there is no network of that depth or alpha.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        depth: int,
        alpha: int,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth of a PyramidNet must be 8, 14, 20, 26, ..., got {depth}.")
        if alpha < 0:
            raise ValueError(f"alpha of a PyramidNet must be >= 0, got {alpha}.")
        layers = Layers(initializers.TORCHVISION, dtype, rngs)
        self.stem = layers.conv(channels, 16, 3)
        self.stem_norm = layers.norm(16)
        per_stage = (depth - 2) // 6
        count = 3 * per_stage
        widths = [16 + round(alpha * i / count) for i in range(count + 1)]
        strides = [2 if i in (per_stage, 2 * per_stage) else 1 for i in range(count)]
        self.blocks = nnx.List(
            Block(widths[i], widths[i + 1], strides[i], layers) for i in range(count)
        )
        self.norm = layers.norm(widths[-1])
        self.classifier = layers.classifier(widths[-1], num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channel]`` images to ``[batch, class]`` logits."""
        x = self.stem_norm(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.classifier(image_mean(nnx.relu(self.norm(x))))
