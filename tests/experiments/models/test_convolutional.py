"""The convolutional families: blocks, shortcuts, statistics and initial weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import models
from experiments.models import initializers, pyramidnet, wide_resnet
from experiments.models.layers import Layers
from experiments.models.pyramidnet import PyramidNet
from experiments.models.resnet import Bottleneck, ResNet, ZeroPadding, projection
from experiments.models.vgg import VGG
from experiments.models.wide_resnet import WideResNet


def make_layers(dtype=jnp.float32):
    return Layers(initializers.TORCHVISION, dtype, nnx.Rngs(0))


@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(2, 5, 5, 3)).astype(np.float32)


def test_the_parameter_free_shortcut_drops_pixels_and_adds_channels_of_zeros(images):
    shortcut = ZeroPadding(3, 7, 2, make_layers())(images)
    np.testing.assert_array_equal(shortcut[..., :3], images[:, ::2, ::2])
    assert shortcut.shape == (2, 3, 3, 7)
    assert not shortcut[..., 3:].any()


def test_a_bottleneck_has_its_stride_in_the_3x3_convolution():
    block = nnx.eval_shape(lambda: Bottleneck(8, 4, 2, projection, make_layers()))
    assert [block.conv1.strides, block.conv2.strides, block.conv3.strides] == [1, 2, 1]


def test_a_wide_block_projects_the_activated_input(images):
    @jax.jit
    def run():
        block = wide_resnet.Block(3, 6, 2, make_layers())
        block.conv2.kernel[...] = jnp.zeros_like(block.conv2.kernel[...])
        return block(images), block.projection(nnx.relu(block.norm1(images)))

    output, expected = run()
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def test_a_pyramidnet_grows_by_the_same_number_of_channels_in_every_block():
    model = nnx.eval_shape(lambda: PyramidNet(10, 3, depth=14, alpha=30, rngs=nnx.Rngs(0)))
    assert [block.channels for block in model.blocks] == [21, 26, 31, 36, 41, 46]
    assert [block.stride for block in model.blocks] == [1, 1, 2, 1, 2, 1]


def test_a_pyramid_block_adds_the_mean_of_2x2_pixels():
    @jax.jit
    def run(image):
        block = pyramidnet.Block(3, 4, 2, make_layers())
        block.norm3.scale[...] = jnp.zeros(4)
        return block(image)

    output = run(jnp.arange(9.0).reshape(1, 3, 3, 1) * jnp.ones(3))
    expected = [[2.0, 3.5], [6.5, 8.0]]  # of 4, 2, 2 and 1 pixels
    np.testing.assert_allclose(output[0, :, :, 0], expected)
    assert not output[..., 3].any()


def test_batch_statistics_are_not_rounded_to_bfloat16():
    norm = make_layers(jnp.bfloat16).norm(1)
    norm.mean[...] = jnp.array([1.001])  # 1 in bfloat16
    norm.eval()
    output = norm(jnp.ones((1, 1, 1, 1), jnp.bfloat16))
    assert output.dtype == jnp.bfloat16
    np.testing.assert_allclose(output.astype(jnp.float32), -0.001, rtol=0.01)


def test_running_statistics_follow_pytorchs_momentum(images):
    norm = make_layers().norm(3)
    norm(images)
    np.testing.assert_allclose(norm.mean[...], 0.1 * images.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * images.var((0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize(
    "kernel_of",
    [
        lambda rngs: ResNet(10, 3, widths=(64,), blocks=(1,), rngs=rngs).blocks[0].conv1,
        lambda rngs: WideResNet(10, 3, depth=10, width=4, rngs=rngs).blocks[0].conv1,
        lambda rngs: PyramidNet(10, 3, depth=8, alpha=48, rngs=rngs).blocks[-1].conv2,
        lambda rngs: models.build("resnet18_imagenet", 10, 3, rngs=rngs).blocks[0].conv1,
    ],
)
def test_convolutions_start_with_fan_out_variance(kernel_of):
    kernel = jax.jit(lambda: kernel_of(nnx.Rngs(0)).kernel[...])()
    fan_out = 9 * kernel.shape[-1]
    np.testing.assert_allclose(kernel.std(), (2 / fan_out) ** 0.5, rtol=0.05)
    assert abs(kernel).max() > 3 * kernel.std()  # a normal distribution, not a uniform one


def test_the_small_image_resnets_start_as_pytorchs_layers_do():
    @jax.jit
    def initial():
        model = models.build("resnet18", 1000, 3, rngs=nnx.Rngs(0))
        return {
            9 * 64: model.blocks[0].conv1.kernel[...],
            512: model.classifier.bias[...],
        }

    for fan_in, weight in initial().items():
        check_uniform(weight, fan_in**-0.5)


def test_the_classifier_starts_as_pytorchs_linear_layer_does():
    classifier = make_layers().classifier(50, 1000)
    check_uniform(classifier.kernel[...], 50**-0.5)
    check_uniform(classifier.bias[...], 50**-0.5)


def check_uniform(weight, bound):
    assert 0.98 * bound < abs(weight).max() <= bound
    np.testing.assert_allclose(weight.std(), bound / 3**0.5, rtol=0.05)
    assert abs(weight.mean()) < 0.1 * bound


def test_norms_start_as_the_identity():
    norm = make_layers().norm(3)
    np.testing.assert_array_equal(norm.scale[...], 1)
    np.testing.assert_array_equal(norm.bias[...], 0)


def test_vgg_has_a_pixel_left_after_five_poolings_and_refuses_smaller_images():
    model = nnx.eval_shape(lambda: VGG(10, 3, depth=11, rngs=nnx.Rngs(0)))
    logits = nnx.eval_shape(lambda m: m(jnp.zeros((2, 32, 32, 3))), model)
    assert logits.shape == (2, 10)
    assert len(model.stages) == 5
    with pytest.raises(ValueError, match="32 pixels, got 16"):
        nnx.eval_shape(lambda: VGG(10, 3, depth=16, image_size=16, rngs=nnx.Rngs(0)))
