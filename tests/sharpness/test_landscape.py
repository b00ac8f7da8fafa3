import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optax_lookbehind.sharpness import (
    filter_normalized_direction,
    loss_between,
    loss_line,
    loss_plane,
)
from tests.support.closed_forms import flat, quadratic, quadratic_loss
from tests.support.errors import raises


def numpy_loss(w, batches):
    matrices, linear = map(np.asarray, batches)
    return np.mean(np.einsum("i,nij,j->n", w, matrices, w) / 2 + linear @ w)


def network(key=0):
    keys = jax.random.split(jax.random.key(key), 2)
    return {
        "conv": {"kernel": 3 * jax.random.normal(keys[0], (3, 3, 2, 5)), "bias": jnp.ones(5)},
        "dense": {"kernel": jax.random.normal(keys[1], (4, 6)).at[:, 2].set(0)},
        "temperature": jnp.array(2.0),
    }


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_each_filter_of_the_direction_is_as_long_as_the_weights_own(axis):
    params = network()
    direction = filter_normalized_direction(0, params, axis)
    for layer in ("conv", "dense"):
        w, d = (np.moveaxis(tree[layer]["kernel"], axis, 0) for tree in (params, direction))
        w, d = (x.reshape(len(x), -1) for x in (w, d))
        np.testing.assert_allclose(
            np.linalg.norm(d, axis=1), np.linalg.norm(w, axis=1), rtol=1e-5, atol=1e-12
        )


def test_the_direction_is_the_random_one_rescaled_per_filter():
    def kernel(key, params):
        return np.asarray(filter_normalized_direction(key, params)["conv"]["kernel"])

    ratio = kernel(0, network(0)) / kernel(0, network(1))
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:1, :1, :1], ratio.shape), rtol=1e-4)
    assert not np.allclose(kernel(0, network()), kernel(1, network()))


def test_biases_scales_and_dead_filters_do_not_move():
    direction = filter_normalized_direction(0, network())
    np.testing.assert_array_equal(direction["conv"]["bias"], np.zeros(5))
    np.testing.assert_array_equal(direction["temperature"], 0)
    np.testing.assert_array_equal(direction["dense"]["kernel"][:, 2], np.zeros(4))


def test_the_line_and_the_plane_match_numpy(float64):
    params, batches = quadratic()
    d1, d2 = filter_normalized_direction(1, params), filter_normalized_direction(2, params)
    a, b = np.linspace(-1, 1, 5), np.array([-0.5, 0.0, 2.0])
    line = loss_line(quadratic_loss, params, batches, d1, a)
    plane = loss_plane(quadratic_loss, params, batches, d1, d2, a, b)
    w, v1, v2 = flat(params), flat(d1), flat(d2)
    np.testing.assert_allclose(line, [numpy_loss(w + x * v1, batches) for x in a], rtol=1e-12)
    expected = [[numpy_loss(w + x * v1 + y * v2, batches) for y in b] for x in a]
    np.testing.assert_allclose(plane, expected, rtol=1e-12)


def test_between_two_checkpoints_the_ends_are_their_losses(float64):
    (start, batches), (end, _) = quadratic(seed=0), quadratic(seed=1)
    losses = loss_between(quadratic_loss, start, end, batches, [0.0, 0.25, 1.0])
    points = [(1 - c) * flat(start) + c * flat(end) for c in (0, 0.25, 1)]
    np.testing.assert_allclose(losses, [numpy_loss(w, batches) for w in points], rtol=1e-12)


def test_bad_arguments_are_named():
    params, batches = quadratic(dtype=np.float32)
    other = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(1)}
    with raises("direction"):
        loss_line(quadratic_loss, params, batches, other, [0.0])
    with raises("direction_2"):
        loss_plane(quadratic_loss, params, batches, params, other, [0.0], [0.0])
    with raises("end"):
        loss_between(quadratic_loss, params, other, batches, [0.0])
    with raises("coordinates[1]", np.inf):
        loss_line(quadratic_loss, params, batches, params, [0.0, np.inf])
    with raises("coordinates_2", 0.5):
        loss_plane(quadratic_loss, params, batches, params, params, [0.0], 0.5)
    with raises("batches"):
        loss_line(quadratic_loss, params, (), params, [0.0])
    with raises("axis", 2):
        filter_normalized_direction(0, params, axis=2)
    with raises("axis", "out"):
        filter_normalized_direction(0, params, axis="out")
