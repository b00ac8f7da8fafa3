"""Networks of strided convolutions: La-MAML's, without normalization, and one with BatchNorm."""

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from experiments.models import initializers
from experiments.models.layers import Layers, image_mean


class StridedCNN(nnx.Module):
    """3x3 convolutions of stride 2, two hidden linear layers, a linear classifier; biases, ReLU.

    La-MAML's "pc_cnn" has 160 channels: three convolutions and 320 hidden units for CIFAR, four and
    640 for Tiny-ImageNet. No BatchNorm and no dropout: the weights are the whole state.

    Args:
      num_classes: number of classes, of all tasks together.
      channels: channels of the images.
      image_size: their height and width.
      convolutions: number of convolutions, each of which halves height and width, rounded up.
      width: channels of each convolution.
      hidden: width of the hidden linear layers.
      dtype: type of the computation; weights and logits are float32.
      rngs: keys for the initial weights.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        image_size: int,
        convolutions: int,
        width: int,
        hidden: int,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        convs = []
        for i in range(convolutions):
            convs.append(
                nnx.Conv(
                    width if i else channels,
                    width,
                    (3, 3),
                    strides=2,
                    padding=1,
                    kernel_init=initializers.HE_FAN_IN,
                    dtype=dtype,
                    rngs=rngs,
                )
            )
            image_size = -(-image_size // 2)
        self.convs = nnx.List(convs)
        sizes = (width * image_size**2, hidden, hidden, num_classes)
        self.linears = nnx.List(
            nnx.Linear(
                size_in,
                size,
                kernel_init=initializers.HE_FAN_IN,
                dtype=jnp.float32 if i == 2 else dtype,
                rngs=rngs,
            )
            for i, (size_in, size) in enumerate(pairwise(sizes))
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channel]`` images to ``[batch, class]`` logits."""
        for conv in self.convs:
            x = nnx.relu(conv(x))
        x = x.reshape(len(x), -1)
        for linear in self.linears[:-1]:
            x = nnx.relu(linear(x))
        return self.linears[-1](x)


class NormalizedCNN(nnx.Module):
    """3x3 convolutions of stride 2 with BatchNorm and ReLU, the mean of the image, a classifier.

    With widths 32, 64 and 128 it has 94,762 weights for ten classes: small enough that a comparison
    of many methods fits a laptop, large enough to memorize some thousand small images.

    Args:
      num_classes: number of classes.
      channels: channels of the images.
      widths: channels of each convolution.
      dtype: type of the computation; weights, batch statistics and logits are float32.
      rngs: keys for the initial weights.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        widths: Sequence[int],
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        layers = Layers(initializers.PYTORCH, dtype, rngs)
        convs, norms = [], []
        for width in widths:
            convs.append(layers.conv(channels, width, 3, 2))
            norms.append(layers.norm(width))
            channels = width
        self.convs, self.norms = nnx.List(convs), nnx.List(norms)
        self.classifier = layers.classifier(channels, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channel]`` images to ``[batch, class]`` logits."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nnx.relu(norm(conv(x)))
        return self.classifier(image_mean(x))
