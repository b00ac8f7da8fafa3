"""Wide ResNets (Zagoruyko and Komodakis, 2016, arXiv 1605.07146), for small images.

The block is that of the authors' Torch code: where the shape changes, the shortcut projects the
activated input. That of homura, which the ASAM authors' code trains, projects the input as it is.
Initial weights are homura's. The Lookbehind authors, whose code extends that of ASAM, released no
Wide ResNet.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from experiments.models import initializers
from experiments.models.layers import Layers, image_mean


class Block(nnx.Module):
    """Two 3x3 convolutions, each after normalization and activation, and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int, layers: Layers):
        self.norm1 = layers.norm(channels_in)
        self.conv1 = layers.conv(channels_in, channels, 3, stride)
        self.norm2 = layers.norm(channels)
        self.conv2 = layers.conv(channels, channels, 3)
        self.projects = stride > 1 or channels_in != channels
        if self.projects:
            self.projection = layers.conv(channels_in, channels, 1, stride)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channels_in]`` to the block's size and channels."""
        y = nnx.relu(self.norm1(x))
        # The authors' Torch code projects what the convolutions see, not the block's input.
        shortcut = self.projection(y) if self.projects else x
        y = nnx.relu(self.norm2(self.conv1(y)))
        return shortcut + self.conv2(y)


class WideResNet(nnx.Module):
    """WRN-depth-width: a 3x3 stem, three stages of blocks, mean over the image, classifier.

    Args:
      num_classes: number of classes.
      channels: channels of the images.
      depth: number of layers, 6n + 4 for n blocks a stage.
      width: factor on the stages' 16, 32 and 64 channels; the stem always has 16.
      dtype: type of the computation.
      rngs: keys for the initial weights.

    Raises:
      ValueError: if there is no network of that depth or width.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        depth: int,
        width: int,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth of a Wide ResNet must be 10, 16, 22, 28, ..., got {depth}.")
        if width < 1:
            raise ValueError(f"width of a Wide ResNet must be >= 1, got {width}.")
        layers = Layers(initializers.TORCHVISION, dtype, rngs)
        self.stem = layers.conv(channels, 16, 3)
        blocks = []
        channels_in = 16
        for stage, channels_out in enumerate((16 * width, 32 * width, 64 * width)):
            for i in range((depth - 4) // 6):
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(Block(channels_in, channels_out, stride, layers))
                channels_in = channels_out
        self.blocks = nnx.List(blocks)
        self.norm = layers.norm(channels_in)
        self.classifier = layers.classifier(channels_in, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channel]`` images to ``[batch, class]`` logits."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(image_mean(nnx.relu(self.norm(x))))
