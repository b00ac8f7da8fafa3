"""Image augmentation on the device, inside the compiled step."""

import dm_pix as pix
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

_PADDING = 4


def crop_and_flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Shifts each image by up to 4 pixels and mirrors it with probability 1/2.

    As usual for CIFAR: a random crop of the image's own size from the image with 4 black pixels
    on each side, then a horizontal flip, drawn for each image independently.

    Args:
      key: PRNG key.
      images: ``[example, height, width, channel]``, as stored: black is 0.

    Returns:
      Images of the same shape and type.
    """

    def one(key: jax.Array, padded: jax.Array) -> jax.Array:
        crop_key, flip_key = jax.random.split(key)
        crop = pix.random_crop(crop_key, padded, images.shape[1:])
        return pix.random_flip_left_right(flip_key, crop)

    # Before normalization: the uint8 images are four times smaller, and black is 0.
    sides = (_PADDING, _PADDING)
    padded = jnp.pad(images, ((0, 0), sides, sides, (0, 0)))
    return jax.vmap(one)(jax.random.split(key, len(images)), padded)


def scale_brightness(key: jax.Array, images: jax.Array, strength: float) -> jax.Array:
    """Multiplies each image by a factor drawn from U(1 - strength, 1 + strength).

    As torchvision's ``ColorJitter(brightness=strength)``, rounded and clipped to 0..255.

    Args:
      key: PRNG key.
      images: ``[example, height, width, channel]``, uint8.
      strength: in [0, 1].
    """
    shape = (len(images), 1, 1, 1)
    factors = jax.random.uniform(key, shape, minval=1 - strength, maxval=1 + strength)
    return jnp.clip(jnp.round(factors * images), 0, 255).astype(images.dtype)


def normalize(images: jax.Array, mean: ArrayLike, std: ArrayLike) -> jax.Array:
    """Returns ``(images - mean) / std`` per channel in float32, the input of the models."""
    return (images.astype(jnp.float32) - mean) / std
