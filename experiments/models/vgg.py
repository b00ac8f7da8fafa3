"""VGG with BatchNorm for 32x32 images, as in kuangliu/pytorch-cifar: a single linear layer.

Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015, configurations A and D.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from experiments.models import initializers
from experiments.models.layers import Layers, image_mean

# Channels of the 3x3 convolutions between two poolings.
_STAGES = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}
_SMALLEST = 2 ** len(_STAGES[11])  # pixels that five poolings leave one of


class VGG(nnx.Module):
    """Stages of 3x3 convolutions, BatchNorm and ReLU, each followed by 2x2 max pooling.

    Args:
      num_classes: number of classes.
      channels: channels of the images.
      depth: number of layers with weights in the paper's count, 11 or 16; the two hidden linear
        layers of its ImageNet networks are left out, as usual for CIFAR.
      image_size: height and width of the images, at least 32; the last feature map is averaged.
      dtype: type of the computation; weights, batch statistics and logits are float32.
      rngs: keys for the initial weights.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        depth: int,
        image_size: int = _SMALLEST,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if image_size < _SMALLEST:
            raise ValueError(f"vgg{depth} needs images of {_SMALLEST} pixels, got {image_size}.")
        layers = Layers(initializers.PYTORCH, dtype, rngs)
        stages = []
        for widths in _STAGES[depth]:
            blocks = []
            for width in widths:
                # With a bias, which BatchNorm takes away again: so has the code that is followed.
                conv = layers.conv(channels, width, 3, bias=True)
                blocks.append(nnx.List([conv, layers.norm(width)]))
                channels = width
            stages.append(nnx.List(blocks))
        self.stages = nnx.List(stages)
        self.classifier = layers.classifier(channels, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channel]`` images to ``[batch, class]`` logits."""
        for stage in self.stages:
            for conv, norm in stage:
                x = nnx.relu(norm(conv(x)))
            x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        return self.classifier(image_mean(x))
