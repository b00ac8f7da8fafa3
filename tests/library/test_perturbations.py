"""Perturbation rules against their formulas in NumPy."""

import equinox as eqx
import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optax_lookbehind import asam_perturbation, masked_perturbation, sam_perturbation


def floats(low, high):
    """Numbers of which the squares, also of a product of two, are zero or normal in float64."""
    return st.floats(low, high).map(lambda x: x if abs(x) > 1e-70 else 0.0)


vectors = hnp.arrays(np.float64, 7, elements=floats(-1e3, 1e3))


def apply(rule, grads, params=None):
    return rule.update(grads, rule.init(params), params)[0]


@settings(max_examples=50, deadline=None)
@given(grads=vectors, rho=st.floats(1e-3, 10))
def test_sam_steps_rho_along_the_gradient(grads, rho):
    with jax.enable_x64(True):
        tree = {"a": jnp.asarray(grads[:3]), "b": (jnp.asarray(grads[3:]),)}
        e = apply(sam_perturbation(rho), tree)
        flat = np.concatenate([e["a"], e["b"][0]])
    norm = np.sqrt(np.sum(grads**2))
    expected = rho * grads / norm if norm > 0 else np.zeros(7)
    np.testing.assert_allclose(flat, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    grads=vectors,
    weights=vectors,
    rho=st.floats(1e-3, 10),
    eta=floats(0, 1),
)
def test_asam_steps_rho_in_coordinates_scaled_by_the_weights(grads, weights, rho, eta):
    with jax.enable_x64(True):
        e = apply(asam_perturbation(rho, eta), jnp.asarray(grads), jnp.asarray(weights))
    t = np.abs(weights) + eta
    norm = np.sqrt(np.sum((t * grads) ** 2))
    expected = rho * t**2 * grads / norm if norm > 0 else np.zeros(7)
    np.testing.assert_allclose(e, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "mask",
    [{"w": True, "b": False}, lambda params: jax.tree.map(lambda x: x.ndim > 1, params)],
    ids=["pytree", "callable"],
)
def test_asam_leaves_masked_out_weights_unscaled(mask, float64):
    params = {"w": jnp.array([[2.0, -3.0]]), "b": jnp.array([4.0])}
    grads = {"w": jnp.array([[0.5, 1.0]]), "b": jnp.array([-2.0])}
    e = apply(asam_perturbation(0.5, 0.01, mask), grads, params)
    t = np.array([2.01, 3.01, 1.0])
    g = np.array([0.5, 1.0, -2.0])
    expected = 0.5 * t**2 * g / np.linalg.norm(t * g)
    np.testing.assert_allclose(e["w"][0], expected[:2], rtol=1e-12)
    np.testing.assert_allclose(e["b"], expected[2:], rtol=1e-12)


def test_a_mask_may_be_a_prefix_of_the_weights(float64):
    params = {"layer": {"w": jnp.array([2.0]), "v": jnp.array([5.0])}, "b": jnp.array([3.0])}
    grads = jax.tree.map(jnp.ones_like, params)
    by_prefix = apply(asam_perturbation(1.0, 0.0, {"layer": True, "b": False}), grads, params)
    full = {"layer": {"w": True, "v": True}, "b": False}
    expected = apply(asam_perturbation(1.0, 0.0, full), grads, params)
    assert jax.tree.all(jax.tree.map(np.array_equal, by_prefix, expected))


def test_asam_without_params_shows_the_call():
    with pytest.raises(ValueError, match=r"params.*update\(grads, state, params\)"):
        apply(asam_perturbation(0.5), jnp.ones(3))


@pytest.mark.parametrize("rule", [sam_perturbation(0.1), asam_perturbation(0.1)])
class TestEveryRule:
    def test_zero_gradient_gives_zero_and_no_nan(self, rule):
        params = {"a": jnp.zeros(3), "b": jnp.ones(2)}
        e = apply(rule, jax.tree.map(jnp.zeros_like, params), params)
        assert all(np.array_equal(leaf, np.zeros_like(leaf)) for leaf in jax.tree.leaves(e))

    def test_nan_in_one_leaf_is_not_hidden(self, rule):
        params = {"a": jnp.ones(3), "b": jnp.ones(2)}
        e = apply(rule, {"a": jnp.array([1.0, jnp.nan, 0.0]), "b": jnp.ones(2)}, params)
        assert np.isnan(e["a"]).all()
        assert np.isnan(e["b"]).all()

    def test_complex_weights(self, rule):
        # |w| = 1 everywhere, so that T is constant and ASAM's step is SAM's, times 1.01.
        w = jnp.array([1j, 0.6 + 0.8j])
        e = apply(rule, jnp.array([3j, 4.0]), w)
        assert float(jnp.linalg.norm(e)) == pytest.approx(0.1, rel=0.011)
        np.testing.assert_allclose(e / jnp.linalg.norm(e), np.array([0.6j, 0.8]), rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "length"), [(sam_perturbation(0.1), 0.1), (asam_perturbation(0.1, 0.01), 0.101)]
)
def test_bfloat16_norms_accumulate_in_float32(rule, length):
    # In bfloat16, adding ones stalls at 256: the norm of 4096 ones would come out as 16.
    ones = jnp.ones(4096, jnp.bfloat16)
    e = apply(rule, ones, ones)
    assert e.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.linalg.norm(np.asarray(e, np.float64)), length, rtol=1e-2)


@pytest.mark.parametrize("eta", [0.0, 0.01])
@pytest.mark.parametrize("sizes", [(1e-3, 1e-4), (1e-3, 1e-3), (100.0, 100.0), (2.0, 3e4)])
def test_float16_products_of_weights_and_gradients_stay_in_range(sizes, eta):
    w, g = (np.arange(1, 5) * np.array(sizes)[:, None] / [[1], [4]]).astype(np.float16)
    t = np.abs(w.astype(np.float64)) + eta
    expected = 0.5 * t**2 * g / np.linalg.norm(t * g)
    e = apply(asam_perturbation(0.5, eta), jnp.asarray(g), jnp.asarray(w))
    assert e.dtype == jnp.float16
    np.testing.assert_allclose(e, expected, rtol=5e-3)


def test_a_mask_that_is_a_callable_module_is_a_tree():
    params = eqx.filter(eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0)), eqx.is_inexact_array)
    mask = jax.tree.map(lambda w: w.ndim > 1, params)
    assert callable(mask)
    for rule in (
        lambda mask: asam_perturbation(0.5, mask=mask),
        lambda mask: masked_perturbation(sam_perturbation(0.5), mask),
    ):
        results = []
        for each in (mask, lambda params: mask):
            tx = rule(each)
            results.append(tx.update(params, tx.init(params), params)[0])
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), *results)


def test_a_scheduled_rho_advances_once_per_update(float64):
    rule = sam_perturbation(optax.linear_schedule(1.0, 3.0, 2))
    state = rule.init(None)
    lengths = []
    for _ in range(3):
        e, state = rule.update(jnp.array([3.0, 4.0]), state)
        lengths.append(np.linalg.norm(e))
    np.testing.assert_allclose(lengths, [1, 2, 3])
