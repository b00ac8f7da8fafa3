import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optax_lookbehind import asam_perturbation
from optax_lookbehind.sharpness import m_sharpness
from tests.support.closed_forms import flat, gradients, max_over_ball, quadratic, quadratic_loss
from tests.support.errors import raises

RADII = [0.05, 0.5, 2.0]


def is_kernel(params):
    return jax.tree.map(lambda w: w.ndim > 1, params)


masked_asam = functools.partial(asam_perturbation, eta=0.1, mask=is_kernel)


def scale(ball, w):
    """``T``: the ball is ``|e / T| <= r``."""
    if ball == "sam":
        return np.ones(5)
    if ball == "asam":
        return np.abs(w) + 0.01
    return np.where(np.arange(5) < 4, np.abs(w) + 0.1, 1)


@pytest.mark.parametrize("ball", ["sam", "asam", masked_asam], ids=["sam", "asam", "masked"])
def test_one_step_is_the_first_order_maximum(ball, float64):
    params, batches = quadratic()
    t = scale(ball, flat(params))
    expected = np.zeros(len(RADII))
    for matrix, g in zip(np.asarray(batches[0]), gradients(params, batches), strict=True):
        for i, radius in enumerate(RADII):
            e = radius * t**2 * g / np.linalg.norm(t * g)
            expected[i] += (e @ matrix @ e / 2 + g @ e) / 3
    found = m_sharpness(quadratic_loss, params, batches, RADII, ball)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("ball", ["sam", "asam", masked_asam], ids=["sam", "asam", "masked"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), radius=st.floats(0.01, 10))
def test_many_steps_reach_the_maximum_over_the_ball(ball, seed, radius):
    with jax.enable_x64(True):
        params, batches = quadratic(number=2, seed=seed)
        found = np.asarray(m_sharpness(quadratic_loss, params, batches, [radius], ball, steps=2000))
    t = scale(ball, flat(params))
    expected = np.mean([
        max_over_ball(t[:, None] * matrix * t, t * g, radius)
        for matrix, g in zip(np.asarray(batches[0]), gradients(params, batches), strict=True)
    ])  # fmt: skip
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    assert found[0] <= expected * (1 + 1e-9)


def test_on_a_diagonal_quadratic_asam_finds_the_weight_that_counts_most(float64):
    # Without eta, at a minimum shifted by almost nothing: the gradient points along one axis and
    # the maximum is there, r |w_i| away.
    def loss(w, a):
        return jnp.sum(a * (w - jnp.array([1.0, -3.0])) ** 2) / 2

    w = jnp.array([1.0, -3.0 - 1e-9])
    rule = functools.partial(asam_perturbation, eta=0.0)
    found = m_sharpness(loss, w, jnp.array([[5.0, 2.0]]), [0.1, 0.2], rule)
    np.testing.assert_allclose(found, 2 * (np.array([0.1, 0.2]) * 3) ** 2 / 2, rtol=1e-6)


def test_more_steps_never_find_less():
    def loss(w, x):
        return jnp.mean(jnp.sin(3 * x @ w) + jnp.cos(x @ jnp.tanh(w)))

    batches = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 3)), jnp.float32)
    w = jnp.array([0.3, -1.0, 0.7])
    found = [m_sharpness(loss, w, batches, RADII, steps=steps) for steps in (1, 2, 6)]
    assert np.all(np.diff(found, axis=0) >= -1e-6)
    assert np.all(found[-1] > found[0])


def test_a_zero_gradient_leaves_the_loss_where_it_is():
    found = m_sharpness(lambda w, x: jnp.mean(x) + 0 * w[0], jnp.ones(2), jnp.ones((2, 3)), RADII)
    np.testing.assert_array_equal(found, np.zeros(3))


def test_a_loss_that_overflows_within_the_ball_is_reported():
    def loss(w, x):
        return jnp.exp(100 * jnp.sum(w * x))

    found = m_sharpness(loss, jnp.ones(1) / 10, jnp.ones((1, 1)), [0.01, 10.0], steps=2)
    assert np.isfinite(found[0])
    assert not np.isfinite(found[1])


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("radii", [0.25, -0.5], ("radii[1]", -0.5)),
        ("radii", [0.0], ("radii[0]", 0.0)),
        ("radii", 0.1, ("radii", 0.1)),
        ("radii", [], ("radii", [])),
        ("perturbation", "esam", ("perturbation", "esam")),
        ("perturbation", 0.05, ("perturbation", 0.05)),
        ("steps", 0, ("steps", 0)),
        ("batches", (), ("batches", [])),
        ("batches", (np.ones((2, 3)), np.ones(3)), ("batches", [(2, 3), (3,)])),
        ("batches", np.ones((0, 3)), ("batches", [(0, 3)])),
        ("batches", np.ones(()), ("batches", [()])),
        ("batches", (np.ones((6, 3)), np.ones(6)), ("batches", [(6, 3), (6,)])),
        ("batches", (np.ones((6, 3)), np.ones((6, 2))), ("batches", [(6, 3), (6, 2)])),
    ],
)
def test_bad_arguments_raise(name, value, shown):
    arguments = {"batches": np.ones((2, 3)), "radii": [0.1]} | {name: value}
    with raises(*shown):
        m_sharpness(lambda w, x: jnp.sum(w * x), np.ones(3), **arguments)
