"""ResNets: sizes, statistics and initial weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import models
from experiments.models.resnet import ResNet


def test_the_digits_model_maps_images_to_logits():
    model = models.build("resnet_digits", num_classes=10, channels=1, rngs=nnx.Rngs(0))
    assert model(jnp.zeros((2, 8, 8, 1))).shape == (2, 10)


@pytest.mark.parametrize(
    ("blocks", "parameters"), [((2, 2, 2, 2), 11_173_962), ((3, 4, 6, 3), 21_282_122)]
)
def test_parameter_counts_are_the_published_ones(blocks, parameters):
    widths = (64, 128, 256, 512)
    model = nnx.eval_shape(lambda: ResNet(10, 3, widths=widths, blocks=blocks, rngs=nnx.Rngs(0)))
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert sum(np.prod(leaf.shape) for leaf in leaves) == parameters


def test_convolutions_start_with_fan_out_variance():
    model = ResNet(10, 3, widths=(64,), blocks=(1,), rngs=nnx.Rngs(0))
    kernel = model.stem.kernel[...]
    np.testing.assert_allclose(kernel.std(), (2 / (9 * 64)) ** 0.5, rtol=0.1)


def test_an_unknown_model_lists_the_valid_ones():
    with pytest.raises(ValueError, match=r"unknown model 'vgg'; valid ones: .*resnet_digits"):
        models.build("vgg", 10, 1, rngs=nnx.Rngs(0))
