"""Vision transformers (Dosovitskiy et al., 2021, arXiv 2010.11929)."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from experiments.models import initializers


class Block(nnx.Module):
    """Attention and a two-layer perceptron, each normalized before and added to its input."""

    def __init__(self, width: int, heads: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        norm = partial(nnx.LayerNorm, width, dtype=dtype, rngs=rngs)
        dense = partial(
            nnx.Linear,
            kernel_init=initializers.VIT_DENSE,
            bias_init=initializers.VIT_MLP_BIAS,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm1 = norm()
        self.attention = nnx.MultiHeadAttention(
            heads,
            width,
            kernel_init=initializers.VIT_DENSE,
            decode=False,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm2 = norm()
        self.dense1 = dense(width, 4 * width)
        self.dense2 = dense(4 * width, width)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[batch, token, feature]`` to the same shape."""
        x = x + self.attention(self.norm1(x))
        # The tanh approximation, which the published weights were trained with.
        y = nnx.gelu(self.dense1(self.norm2(x)), approximate=True)
        return x + self.dense2(y)


class ViT(nnx.Module):
    """Patches and a class token, learned positions, encoder blocks, classifier on the class token.

    Weights and logits are float32 for any ``dtype``.

    Args:
      num_classes: number of classes.
      channels: channels of the images.
      image_size: their height and width.
      patch_size: height and width of a patch: 16 in ViT-B/16.
      width: features of a token.
      depth: number of encoder blocks.
      heads: number of attention heads.
      dtype: type of the computation.
      rngs: keys for the initial weights.

    Raises:
      ValueError: if whole patches do not fill the image.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        image_size: int,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if patch_size < 1 or image_size < 1 or image_size % patch_size:
            raise ValueError(
                f"image_size must be a multiple of the patch size {patch_size}, got {image_size}."
            )
        self.image_size = image_size
        self.embedding = nnx.Conv(
            channels,
            width,
            (patch_size, patch_size),
            patch_size,
            padding="VALID",
            kernel_init=initializers.VIT_PATCHES,
            dtype=dtype,
            rngs=rngs,
        )
        tokens = 1 + (image_size // patch_size) ** 2
        self.cls = nnx.Param(initializers.VIT_ZEROS(rngs.params(), (1, 1, width)))
        self.positions = nnx.Param(initializers.VIT_POSITIONS(rngs.params(), (1, tokens, width)))
        self.blocks = nnx.List(Block(width, heads, dtype=dtype, rngs=rngs) for _ in range(depth))
        self.norm = nnx.LayerNorm(width, dtype=jnp.float32, rngs=rngs)
        self.classifier = nnx.Linear(
            width,
            num_classes,
            kernel_init=initializers.VIT_ZEROS,
            dtype=jnp.float32,
            rngs=rngs,
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, channel]`` images to ``[batch, class]`` logits."""
        size = (self.image_size, self.image_size)
        if images.shape[1:3] != size:
            raise ValueError(f"this ViT was built for {size} images, got {images.shape[1:3]}.")
        x = self.embedding(images)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        cls = jnp.broadcast_to(self.cls[...], (x.shape[0], 1, x.shape[-1]))
        x = jnp.concatenate([cls.astype(x.dtype), x], axis=1)
        x = x + self.positions[...].astype(x.dtype)
        for block in self.blocks:
            x = block(x)
        return self.classifier(self.norm(x[:, 0]))
