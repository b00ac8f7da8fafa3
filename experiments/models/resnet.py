"""ResNets (He et al., 2016, arXiv 1512.03385), for small images and for ImageNet's."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from experiments.models import initializers
from experiments.models.layers import Layers, image_mean, pad_channels

Shortcut = Callable[[int, int, int, Layers], Callable[[jax.Array], jax.Array]]


def projection(channels_in: int, channels: int, stride: int, layers: Layers) -> nnx.Module:
    """A 1x1 convolution where a block changes the shape (option B)."""
    return nnx.Sequential(layers.conv(channels_in, channels, 1, stride), layers.norm(channels))


class ZeroPadding(nnx.Module):
    """A subsampled image with channels of zeros where a block changes the shape (option A)."""

    def __init__(self, channels_in: int, channels: int, stride: int, layers: Layers):
        del channels_in, layers  # nothing here has weights
        self.channels = channels
        self.stride = stride

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channels_in]`` to the block's size and channels."""
        return pad_channels(x[:, :: self.stride, :: self.stride], self.channels)


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions and a shortcut, each normalized before its activation."""

    expansion: ClassVar[int] = 1

    def __init__(
        self, channels_in: int, channels: int, stride: int, shortcut: Shortcut, layers: Layers
    ):
        self.conv1 = layers.conv(channels_in, channels, 3, stride)
        self.norm1 = layers.norm(channels)
        self.conv2 = layers.conv(channels, channels, 3)
        self.norm2 = layers.norm(channels)
        if stride == 1 and channels_in == channels:
            self.shortcut: Callable[[jax.Array], jax.Array] = nnx.identity
        else:
            self.shortcut = shortcut(channels_in, channels, stride, layers)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channels_in]`` to the block's size and channels."""
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return nnx.relu(y + self.shortcut(x))


class Bottleneck(nnx.Module):
    """A 3x3 convolution between two 1x1 ones, and a shortcut.

    The 3x3 convolution has the stride, as in torchvision and pytorch-cifar; in the paper the first
    1x1 has it.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self, channels_in: int, channels: int, stride: int, shortcut: Shortcut, layers: Layers
    ):
        channels_out = self.expansion * channels
        self.conv1 = layers.conv(channels_in, channels, 1)
        self.norm1 = layers.norm(channels)
        self.conv2 = layers.conv(channels, channels, 3, stride)
        self.norm2 = layers.norm(channels)
        self.conv3 = layers.conv(channels, channels_out, 1)
        self.norm3 = layers.norm(channels_out)
        if stride == 1 and channels_in == channels_out:
            self.shortcut: Callable[[jax.Array], jax.Array] = nnx.identity
        else:
            self.shortcut = shortcut(channels_in, channels_out, stride, layers)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channels_in]`` to the block's size and 4x channels."""
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = nnx.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return nnx.relu(y + self.shortcut(x))


class ResNet(nnx.Module):
    """Stem, stages of blocks, mean over the image, linear classifier.

    Args:
      num_classes: number of classes.
      channels: channels of the images.
      widths: channels of each stage, before a bottleneck's expansion; every stage but the first
        halves height and width.
      blocks: number of blocks of each stage.
      block: ``BasicBlock`` or ``Bottleneck``.
      shortcut: ``projection`` or ``ZeroPadding``, for the blocks that change the shape.
      imagenet_stem: a 7x7 convolution and max pooling, which divide height and width by 4, in
        place of a 3x3 convolution, as kuangliu/pytorch-cifar has it for small images.
      scheme: initializers of the weights.
      dtype: type of the computation.
      rngs: keys for the initial weights.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        block: type[BasicBlock] | type[Bottleneck] = BasicBlock,
        shortcut: Shortcut = projection,
        imagenet_stem: bool = False,
        scheme: initializers.Scheme = initializers.FB_RESNET_TORCH,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        layers = Layers(scheme, dtype, rngs)
        self.imagenet_stem = imagenet_stem
        kernel_size, stem_stride = (7, 2) if imagenet_stem else (3, 1)
        self.stem = layers.conv(channels, widths[0], kernel_size, stem_stride)
        self.norm = layers.norm(widths[0])
        stages = []
        channels_in = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                stages.append(block(channels_in, width, stride, shortcut, layers))
                channels_in = block.expansion * width
        self.blocks = nnx.List(stages)
        self.classifier = layers.classifier(channels_in, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channel]`` images to ``[batch, class]`` logits."""
        x = nnx.relu(self.norm(self.stem(x)))
        if self.imagenet_stem:
            x = nnx.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return self.classifier(image_mean(x))
