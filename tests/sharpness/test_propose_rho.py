"""The proposed radius, against closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lookbehind as ol
from optax_lookbehind import sharpness
from tests.support.problems import batches, network

L, W = 3.0, 0.5  # curvature, and the weight
assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
BATCH = jnp.ones((2, 4, 1))


def quadratic(params, batch):
    return L / 2 * jnp.sum(params["w"] ** 2) * batch.mean()


def linear(params, batch):
    return jnp.sum(params["w"] * jnp.array([3.0, 4.0])) * batch.mean()


@pytest.mark.parametrize("rise", [0.01, 0.1, 1.0])
def test_on_a_quadratic_the_loss_rises_by_what_was_asked(rise):
    found = sharpness.propose_rho(quadratic, {"w": jnp.array([W])}, BATCH, rise=rise)
    expected = np.sqrt(W**2 + 2 * rise / L) - W  # L/2 ((w + r)^2 - w^2) = rise
    assert_close(found.rho, expected, rtol=0.02)
    assert_close(found.loss, L / 2 * W**2)
    assert_close(found.first_order, L * W * found.radii)
    assert_close(found.rises, L * W * found.radii + L / 2 * found.radii**2)


def test_on_a_linear_loss_it_is_the_first_order_radius():
    params = {"w": jnp.array([1.0, 1.0])}
    found = sharpness.propose_rho(linear, params, BATCH, rise=0.2)
    assert_close(found.rho, 0.2 / 5)
    # ASAM rises by rho |T g|.
    found = sharpness.propose_rho(linear, params, BATCH, rise=0.2, perturbation="asam")
    assert_close(found.rho, 0.2 / (1.01 * 5))


def test_k_steps_share_the_radius():
    params = {"w": jnp.array([W])}
    one, five = (sharpness.propose_rho(quadratic, params, BATCH, k=k).rho for k in (1, 5))
    assert_close(5 * five, one)


def test_it_stops_where_the_first_order_model_ends():
    # 2 tanh(r / 2) has slope 1 and never rises by more than 2; half the model ends at r = 3.83.
    loss_fn = lambda params, batch: 2 * jnp.tanh(params["w"][0] / 2) * batch.mean()
    found = sharpness.propose_rho(loss_fn, {"w": jnp.array([0.0])}, BATCH, rise=2.5)
    assert_close(found.radii, 2.5 * 2.0 ** np.arange(-3, 3))
    assert_close(found.rho, 2.5)


def test_infinite_losses_beyond_the_crossing_are_no_obstacle():
    wall = lambda w: w + jnp.where(w > 1, jnp.inf, 0)
    loss_fn = lambda params, batch: wall(params["w"][0]) * batch.mean()
    found = sharpness.propose_rho(loss_fn, {"w": jnp.array([0.0])}, BATCH, rise=1.5)
    assert_close(found.rises, [0.1875, 0.375, 0.75, np.inf, np.inf, np.inf])
    assert_close(found.rho, 0.75)


def test_a_nan_gives_nan():
    loss_fn = lambda params, batch: jnp.log(params["w"][0]) * batch.mean()
    assert np.isnan(sharpness.propose_rho(loss_fn, {"w": jnp.array([-1.0])}, BATCH).rho)


def test_without_a_gradient_there_is_no_radius():
    with pytest.raises(
        ValueError, match="params must be weights at which the gradient is not zero"
    ):
        sharpness.propose_rho(quadratic, {"w": jnp.array([0.0])}, BATCH)


@pytest.mark.parametrize("rise", [0.0, -1.0, np.nan])
def test_a_rise_that_is_none_is_refused(rise):
    with pytest.raises(ValueError, match="rise must be a finite number > 0"):
        sharpness.propose_rho(quadratic, {"w": jnp.array([W])}, BATCH, rise=rise)


def test_it_works_under_jit_and_with_a_rule_of_the_users():
    params, loss_fn = network()
    rule = functools.partial(ol.asam_perturbation, eta=0.01)
    own = sharpness.propose_rho(loss_fn, params, batches(), perturbation=rule)
    jitted = jax.jit(functools.partial(sharpness.propose_rho, loss_fn, perturbation="asam"))
    assert_close(jitted(params, batches()).rho, own.rho, rtol=1e-6)


def test_weights_in_bfloat16_give_a_radius_in_float32():
    params, loss_fn = network()
    found = sharpness.propose_rho(loss_fn, params, batches())
    rounded = jax.tree.map(lambda w: w.astype(jnp.bfloat16), params)
    low = sharpness.propose_rho(loss_fn, rounded, batches())
    assert low.rho.dtype == jnp.float32
    assert_close(low.rho, found.rho, rtol=0.3)
