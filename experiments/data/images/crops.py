"""Crops of photographs on the host, resized to one size."""

import io
import math

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]  # left, upper, right, lower

_ATTEMPTS = 10
_AREA = (0.08, 1.0)
_LOG_RATIO = (math.log(3 / 4), math.log(4 / 3))
_EVALUATED = 224 / 256


def random_box(width: int, height: int, rng: np.random.Generator) -> Box:
    """A random part of an image, as Inception was trained on.

    Its area is uniform in 8% to 100% of the image's, its aspect ratio log-uniform in 3/4 to 4/3,
    its place uniform. After ten boxes that do not fit: the largest central square.
    """
    for _ in range(_ATTEMPTS):
        area = width * height * rng.uniform(*_AREA)
        root = math.exp(rng.uniform(*_LOG_RATIO) / 2)
        box_width, box_height = math.sqrt(area) * root, math.sqrt(area) / root
        if box_width <= width and box_height <= height:
            left, upper = rng.uniform(0, width - box_width), rng.uniform(0, height - box_height)
            return left, upper, left + box_width, upper + box_height
    return central_box(width, height, fraction=1.0)


def central_box(width: int, height: int, fraction: float = _EVALUATED) -> Box:
    """The central square whose side is a fraction of the shorter side.

    With the default, resizing it to 224 pixels is the usual evaluation: the shorter side resized
    to 256, then the central 224.
    """
    half = fraction * min(width, height) / 2
    return width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half


def decode(encoded: bytes, name: str = "") -> Image.Image:
    """Opens an encoded image in RGB; raises a ValueError with its name if it cannot be read."""
    try:
        image: Image.Image = Image.open(io.BytesIO(encoded))
        if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
            image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
        return image.convert("RGB")
    except (OSError, SyntaxError) as error:  # Pillow raises both
        raise ValueError(f"The image {name} cannot be read: {error}.") from error


def resized(image: Image.Image, box: Box, size: int) -> np.ndarray:
    """The image's part in the box as uint8 ``[size, size, 3]``: bilinear, antialiased."""
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
