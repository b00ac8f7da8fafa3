"""ResNets for small images: a 3x3 stem without pooling, as in kuangliu/pytorch-cifar."""

from collections.abc import Sequence
from functools import partial

import jax
from flax import nnx

from experiments.models import initializers

_conv = partial(nnx.Conv, use_bias=False, kernel_init=initializers.CONV)
# PyTorch's momentum of 0.1, which counts from the other side.
_norm = partial(nnx.BatchNorm, momentum=0.9, epsilon=1e-5)


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions beside a shortcut, each normalized before its activation."""

    def __init__(self, channels_in: int, channels: int, stride: int, *, rngs: nnx.Rngs):
        self.conv1 = _conv(channels_in, channels, (3, 3), stride, padding=1, rngs=rngs)
        self.norm1 = _norm(channels, rngs=rngs)
        self.conv2 = _conv(channels, channels, (3, 3), padding=1, rngs=rngs)
        self.norm2 = _norm(channels, rngs=rngs)
        if stride == 1 and channels_in == channels:
            self.shortcut = nnx.identity
        else:
            self.shortcut = nnx.Sequential(
                _conv(channels_in, channels, (1, 1), stride, rngs=rngs),
                _norm(channels, rngs=rngs),
            )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channels_in]`` to the block's size and channels."""
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return nnx.relu(y + self.shortcut(x))


class ResNet(nnx.Module):
    """Stem, stages of blocks, mean over the image, linear classifier.

    Args:
      num_classes: number of classes.
      channels: channels of the images.
      widths: channels of each stage; every stage but the first halves height and width.
      blocks: number of blocks of each stage.
      rngs: keys for the initial weights.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        rngs: nnx.Rngs,
    ):
        self.stem = _conv(channels, widths[0], (3, 3), padding=1, rngs=rngs)
        self.norm = _norm(widths[0], rngs=rngs)
        stages = []
        channels_in = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(BasicBlock(channels_in, width, stride, rngs=rngs))
                channels_in = width
        self.blocks = nnx.List(stages)
        self.classifier = nnx.Linear(
            channels_in, num_classes, kernel_init=initializers.DENSE, rngs=rngs
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channel]`` images to ``[batch, class]`` logits."""
        x = nnx.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.classifier(x.mean(axis=(1, 2)))
