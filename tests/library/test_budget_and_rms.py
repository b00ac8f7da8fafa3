"""The rules of LE-SAM (a budget) and of RMS ascent: formulas, dtypes, states."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import quadratic

exact = pytest.mark.usefixtures("float64")


def perturb(rule, g, state=None):
    return rule.update(g, rule.init(g) if state is None else state, g)


@exact
def test_the_loss_rises_by_the_budget_to_first_order_up_to_the_cap():
    g = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([-4.0])}
    e, _ = perturb(ol.budget_perturbation(0.5, rho_max=0.2), g)
    np.testing.assert_allclose(optax.tree.vdot(g, e), 0.5, rtol=1e-12)
    e, _ = perturb(ol.budget_perturbation(2.0, rho_max=0.2), g)
    np.testing.assert_allclose(optax.tree.norm(e), 0.2, rtol=1e-12)
    np.testing.assert_allclose(e["b"], -0.2 * 4 / 5, rtol=1e-12)


@exact
def test_a_scheduled_budget_advances_once_per_training_step():
    matrix, w = map(jnp.asarray, quadratic())
    rule = ol.budget_perturbation(lambda t: 0.1 * (t + 1))
    tx, reached = ol.multistep(rule, k=2), []
    grad_fn = lambda p, i: reached.append(p) or matrix @ p
    state = tx.init(w)
    for _ in range(3):
        _, state = tx.update(matrix @ w, state, w, grad_fn=grad_fn)
    rises = [(matrix @ w) @ (p - w) for p in reached[::2]]
    np.testing.assert_allclose(rises, [0.1, 0.2, 0.3], rtol=1e-12)


def test_budget_and_cap_are_adjustable_under_inject_hyperparams():
    g = jnp.array([3.0, -4.0])
    rule = optax.inject_hyperparams(ol.budget_perturbation)(budget=1.0, rho_max=0.5)
    state = rule.init(g)
    np.testing.assert_allclose(perturb(rule, g, state)[0], 0.2 * g / 5, rtol=1e-6)
    state.hyperparams["rho_max"] = jnp.float32(0.1)
    np.testing.assert_allclose(perturb(rule, g, state)[0], 0.1 * g / 5, rtol=1e-6)


def test_a_budget_in_half_precision_neither_overflows_nor_vanishes():
    g = jnp.full(64, 1e-4, jnp.float16)  # its square is below float16's smallest number
    e, _ = perturb(ol.budget_perturbation(1.0, rho_max=0.5), g)
    assert e.dtype == jnp.float16
    np.testing.assert_allclose(optax.tree.norm(e.astype(jnp.float32)), 0.5, rtol=1e-3)


@exact
def test_rms_ascent_starts_along_the_sign_of_the_gradient_and_keeps_its_length():
    g = jnp.array([1e-2, -3.0, 0.5])
    rule = ol.rms_perturbation(0.3, decay=0.9, eps=1e-30)
    e, state = perturb(rule, g)
    np.testing.assert_allclose(e, 0.3 * jnp.sign(g) / np.sqrt(3), rtol=1e-12)
    e, _ = perturb(rule, 2 * g, state)
    np.testing.assert_allclose(optax.tree.norm(e), 0.3, rtol=1e-12)


def test_the_mean_square_of_bfloat16_gradients_does_not_stall():
    g = jnp.full(4, 0.1, jnp.bfloat16)
    rule = ol.rms_perturbation(0.3)
    step = lambda state, _: (rule.update(g, state, g)[1], None)
    state, _ = jax.lax.scan(step, rule.init(g), length=2000)
    assert state.mean_square.dtype == jnp.float32
    expected = (1 - 0.999**2000) * float(g[0]) ** 2
    np.testing.assert_allclose(state.mean_square, expected, rtol=1e-3)


def test_what_is_not_finite_does_not_enter_the_mean_square():
    g = jnp.array([1.0, 2.0])
    rule = ol.rms_perturbation(0.3, decay=0.5)
    e, state = perturb(rule, jnp.array([jnp.nan, 2.0]))
    assert np.isnan(e).any()
    np.testing.assert_allclose(state.mean_square, [0.0, 2.0])
    assert np.isfinite(perturb(rule, g, state)[0]).all()
