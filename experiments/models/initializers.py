"""Weight initializers matching the papers' code, for all models."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

# He et al., 2015, keeping the variance of the backward pass: kaiming_normal_(mode="fan_out").
HE_FAN_OUT = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# torch.nn.init.kaiming_normal_ as it is by default.
HE_FAN_IN = jax.nn.initializers.variance_scaling(2.0, "fan_in", "normal")
# The default of PyTorch for convolutions and linear layers, U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
UNIFORM = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def uniform_bias(fan_in: int) -> Initializer:
    """The default of PyTorch for the bias of a linear layer: like its kernel."""
    bound = fan_in**-0.5
    return partial(jax.random.uniform, minval=-bound, maxval=bound)


def zero_bias(fan_in: int) -> Initializer:
    """Zeros, whatever the size of the input."""
    del fan_in
    return jax.nn.initializers.zeros


class Scheme(NamedTuple):
    """Initializers of a convolutional network; linear kernels are ``UNIFORM`` in all schemes.

    Attributes:
      conv: initializer of the convolutions.
      bias: ``(inputs of the classifier) -> initializer`` of its bias.
    """

    conv: Initializer
    bias: Callable[[int], Initializer]


# facebookarchive/fb.resnet.torch, the reference code of ResNets on CIFAR.
FB_RESNET_TORCH = Scheme(HE_FAN_OUT, zero_bias)
# torchvision's ResNets; homura's Wide ResNets, which the ASAM authors' code trains (with another
# block: wide_resnet.py); dyhan0920/PyramidNet-PyTorch.
TORCHVISION = Scheme(HE_FAN_OUT, uniform_bias)
# kuangliu/pytorch-cifar, whose ResNets the Lookbehind authors' code trains: PyTorch's defaults.
PYTORCH = Scheme(UNIFORM, uniform_bias)

# google-research/vision_transformer.
VIT_PATCHES = jax.nn.initializers.lecun_normal()  # a truncated normal
VIT_POSITIONS = jax.nn.initializers.normal(0.02)
VIT_DENSE = jax.nn.initializers.xavier_uniform()
VIT_MLP_BIAS = jax.nn.initializers.normal(1e-6)
# The class token, and the classifier: every class equally likely at the start.
VIT_ZEROS = jax.nn.initializers.zeros

# fairseq's Transformer: Xavier-uniform, with a gain of 1 / sqrt(2) on queries, keys and values.
FAIRSEQ_DENSE = jax.nn.initializers.xavier_uniform()
FAIRSEQ_QKV = jax.nn.initializers.variance_scaling(0.5, "fan_avg", "uniform")

# Keras: Glorot-uniform.
KERAS_DENSE = jax.nn.initializers.glorot_uniform()


def keras2_one_head(
    key: jax.Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None
) -> jax.Array:
    """Queries, keys and values of Keras 2 with one head: its kernel is [input, head, feature].

    Keras 2 takes that for a convolution over the inputs, so that the limit of the uniform
    distribution is sqrt(6 / (inputs + inputs * features)).
    """
    del out_sharding
    inputs, features = shape
    return KERAS_DENSE(key, (inputs, 1, features), dtype).reshape(shape)


def fairseq_embedding(padding: int) -> Initializer:
    """N(0, 1 / width), with a row of zeros for the padding token.

    Xavier-uniform rows would be small compared with the position signals and train far slower.
    """

    def init(
        key: jax.Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None
    ) -> jax.Array:
        del out_sharding
        rows = jax.random.normal(key, shape, dtype) * shape[-1] ** -0.5
        return rows.at[padding].set(0)

    return init
