"""A small smooth classification problem for the meta learners, in float64."""

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


class Points(NamedTuple):
    x: jax.Array
    y: jax.Array


def points(seed, count, features=4, classes=3):
    rng = np.random.default_rng(seed)
    return Points(
        jnp.asarray(rng.normal(size=(count, features))),
        jnp.asarray(rng.integers(classes, size=count)),
    )


def mlp(seed=0, sizes=(4, 3)):
    rng = np.random.default_rng(seed)
    return [
        {"w": jnp.asarray(rng.normal(size=size)), "b": jnp.asarray(rng.normal(size=size[1]))}
        for size in pairwise(sizes)
    ]


def loss(params, batch):
    x = batch.x
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    logits = x @ params[-1]["w"] + params[-1]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch.y).mean(), {}


@jax.jit
def gradient(params, batch):
    return jax.grad(lambda params: loss(params, batch)[0])(params)


def assert_close(first, second, rtol=1e-9, atol=1e-12):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), first, second)
