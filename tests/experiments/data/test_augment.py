"""Random crops and flips on the device, and crops of photographs on the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.data import augment
from experiments.data.images import crops

crop_and_flip = jax.jit(augment.crop_and_flip)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(1, 256, (64, 8, 8, 3), dtype=np.uint8)


def shifts_and_flips(image):
    """All images that the augmentation may make of one."""
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    height, width, _ = image.shape
    shifted = [padded[y : y + height, x : x + width] for y, x in np.ndindex(9, 9)]
    return np.stack(shifted + [x[:, ::-1] for x in shifted])


def test_each_image_is_shifted_and_flipped_on_its_own(images):
    augmented = np.asarray(crop_and_flip(jax.random.key(0), images))
    assert augmented.dtype == np.uint8
    found = []
    for image, result in zip(images, augmented, strict=True):
        (matches,) = np.nonzero((shifts_and_flips(image) == result).all(axis=(1, 2, 3)))
        found.append(matches.item())
    assert len(set(found)) > 40  # of 64 draws from 162
    assert 16 < np.sum(np.array(found) >= 81) < 48  # flipped


def test_the_draws_follow_the_key(images):
    first, again, other = (crop_and_flip(jax.random.key(s), images) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_sharded_images_are_augmented_as_whole_ones(images):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    placed = jax.device_put(images, jax.NamedSharding(mesh, jax.P("data")))
    sharded = crop_and_flip(jax.random.key(0), placed)
    assert sharded.sharding.spec == jax.P("data")
    np.testing.assert_array_equal(sharded, crop_and_flip(jax.random.key(0), images))


def test_brightness_scales_each_image_on_its_own(images):
    scaled = np.asarray(augment.scale_brightness(jax.random.key(0), jnp.asarray(images), 0.25))
    assert scaled.dtype == np.uint8
    dark = images < 200  # not clipped
    factors = [np.median(new[d] / old[d]) for new, old, d in zip(scaled, images, dark, strict=True)]
    assert 0.74 < min(factors) < 0.85
    assert 1.15 < max(factors) < 1.26
    expected = np.clip(np.round(np.array(factors)[:, None, None, None] * images), 0, 255)
    assert np.abs(scaled - expected).max() <= 2
    same = augment.scale_brightness(jax.random.key(0), jnp.asarray(images), 0.0)
    np.testing.assert_array_equal(same, images)


def test_normalization_is_per_channel_and_float32(images):
    mean, std = images.mean((0, 1, 2)), images.std((0, 1, 2))
    normal = augment.normalize(jnp.asarray(images), np.float32(mean), np.float32(std))
    assert normal.dtype == jnp.float32
    np.testing.assert_allclose(normal.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std((0, 1, 2)), 1, atol=1e-5)


def test_random_boxes_have_the_areas_and_ratios_of_inception():
    rng = np.random.default_rng(0)
    boxes = np.array([crops.random_box(250, 200, rng) for _ in range(2000)])
    left, upper, right, lower = boxes.T
    assert left.min() >= 0
    assert upper.min() >= 0
    assert right.max() <= 250 + 1e-9
    assert lower.max() <= 200 + 1e-9
    area = (right - left) * (lower - upper) / (250 * 200)
    ratio = (right - left) / (lower - upper)
    assert 0.08 <= area.min() < 0.1
    assert 0.9 < area.max() <= 1
    assert 3 / 4 - 1e-9 <= ratio.min() < 0.77
    assert 1.3 < ratio.max() <= 4 / 3 + 1e-9


def test_an_image_without_room_for_a_box_gives_its_central_square():
    assert crops.random_box(1000, 10, np.random.default_rng(0)) == (495, 0, 505, 10)


def test_the_central_box_is_resize_256_and_crop_224():
    assert crops.central_box(512, 768) == (32, 160, 480, 608)
    noise = np.random.default_rng(0).integers(0, 256, (512, 768, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    usual = image.resize((384, 256), Image.Resampling.BILINEAR).crop((80, 16, 304, 240))
    ours = crops.resized(image, crops.central_box(*image.size), 224)
    np.testing.assert_allclose(ours.astype(int), np.asarray(usual).astype(int), atol=1)
