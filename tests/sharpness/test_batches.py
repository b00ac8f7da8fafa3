"""Minibatches from a dataset, and m-sharpness on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optax_lookbehind.sharpness import m_sharpness, minibatches
from tests.support.errors import raises


def linear_loss(w, batch):
    x, y = batch
    return jnp.mean(y * (x @ w))


def test_minibatches_keep_the_order_and_drop_the_rest():
    x, y = np.arange(14.0).reshape(7, 2), np.arange(7)
    split_x, split_y = minibatches((x, y), 3)
    np.testing.assert_array_equal(split_x, [x[:3], x[3:6]])
    np.testing.assert_array_equal(split_y, [y[:3], y[3:6]])


@pytest.mark.parametrize("m", [1, 4, 12])
def test_m_sharpness_of_a_linear_loss_is_the_mean_norm_of_the_minibatch_gradients(m, float64):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    found = m_sharpness(linear_loss, jnp.ones(3), minibatches((x, y), m), [0.5])
    gradients = (y[:, None] * x).reshape(-1, m, 3).mean(1)
    np.testing.assert_allclose(found, [0.5 * np.linalg.norm(gradients, axis=1).mean()], rtol=1e-12)


@pytest.mark.parametrize("shape", [(12, 3), (12, 4, 4, 1)])
def test_examples_in_place_of_minibatches_raise_with_the_helper(shape):
    examples = np.ones(shape), np.ones(shape[:1])
    with pytest.raises(ValueError, match=r"^batches .*\(12, .*\(12,\).*minibatches\("):
        m_sharpness(linear_loss, jnp.ones(shape[1:]), examples, [0.5])


def test_a_key_for_each_minibatch_needs_no_axis_of_examples():
    keys = jax.random.split(jax.random.key(0), 2)
    loss = lambda w, batch: jnp.sum(w * batch[0]) + 0 * jax.random.normal(batch[1])
    assert m_sharpness(loss, jnp.ones(3), (jnp.ones((2, 3)), keys), [0.1]).shape == (1,)


def test_statistics_and_scalars_of_each_minibatch_need_no_axis_of_examples():
    loss = lambda w, batch: jnp.sum(w * batch["x"]) + jnp.sum(batch["mean"]) * batch["count"]
    batches = {"x": (2, 5, 3), "labels": (2, 5), "mean": (2, 7), "count": (2,)}
    batches = {name: jnp.ones(shape) for name, shape in batches.items()}
    assert m_sharpness(loss, jnp.ones(3), batches, [0.1]).shape == (1,)


@pytest.mark.parametrize("m", [0, -1, 2.0, 8])
def test_a_wrong_m_raises(m):
    with raises("m", m):
        minibatches(np.ones((7, 2)), m)


@pytest.mark.parametrize("examples", [(), np.ones(()), (np.ones(3), np.ones(4)), np.ones((0, 2))])
def test_what_is_no_set_of_examples_raises(examples):
    with raises("examples"):
        minibatches(examples, 1)
