"""One step's rounding noise or NaN does not reach the steps after it through the state."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol

W = jnp.array([1.0, -2.0, 3.0, 0.5])
A = jnp.array([1.0, 2.0, 0.5, 3.0])


def steps(tx, grad_fns, dtype=jnp.float32):
    """What is emitted with each gradient function, and the last state."""
    w = W.astype(dtype)
    state, emitted = tx.init(w), []
    for grad_fn in grad_fns:
        updates, state = tx.update(grad_fn(w, -1), state, w, grad_fn=grad_fn)
        emitted.append(updates)
    return emitted, state


def curved(p, i):
    return A.astype(p.dtype) * p


def parallel(p, i):
    """The sharp gradient is the plain one, but for its length and rounding."""
    return 0.3 * p


def nan_where_perturbed(p, i):
    """A finite plain gradient (i = -1), a NaN in the perturbed one."""
    return jnp.where(i < 0, curved(p, i), jnp.nan)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_direction_of_rounding_noise_is_not_reused(dtype):
    (_, plain), state = steps(ol.looksam(0.1, 0.5, period=2), [parallel, parallel], dtype)
    assert not optax.tree.get(state, "sharp_direction").any()
    np.testing.assert_array_equal(plain, parallel(W.astype(dtype), -1))


def test_a_large_model_has_no_direction_of_rounding_noise():
    w = jax.random.normal(jax.random.key(0), (1_000_000,))
    tx = ol.looksam(0.05, 0.5, period=2)
    _, state = tx.update(0.3 * w, tx.init(w), w, grad_fn=lambda p, i: 0.3 * p)
    assert not optax.tree.get(state, "sharp_direction").any()


def test_a_small_direction_is_kept():
    """An angle of a thousandth is no rounding noise in float32."""
    nearly = lambda p, i: 0.3 * p + 0.01 * jnp.where(i < 0, 0, A * p)
    (_, plain), _ = steps(ol.looksam(0.1, 0.5, period=2), [nearly, nearly])
    g = 0.3 * W
    difference = np.linalg.norm(plain - g) / np.linalg.norm(g)
    np.testing.assert_allclose(difference, 0.5, rtol=1e-3)


def test_a_nan_does_not_replace_the_kept_direction():
    tx = ol.looksam(0.1, 0.5, period=2)
    (_, expected), _ = steps(tx, [curved, curved])
    (*_, broken, plain), _ = steps(tx, [curved, curved, nan_where_perturbed, curved])
    assert jnp.isnan(broken).all()  # visible in the step itself
    np.testing.assert_array_equal(plain, expected)


@pytest.mark.parametrize("alpha", ["adaptive", "adaptive_per_tensor"])
def test_a_nan_does_not_spoil_the_alpha_of_plain_steps(alpha):
    tx = ol.lookbehind(ol.sam_perturbation(0.1), 2, alpha, policy=ol.periodic_policy(2))
    (_, expected), _ = steps(tx, [curved, curved])
    (*_, broken, plain), _ = steps(tx, [curved, curved, nan_where_perturbed, curved])
    assert jnp.isnan(broken).all()
    np.testing.assert_array_equal(plain, expected)


@pytest.mark.parametrize("make", [ol.friendly_sam, ol.vasso])
def test_a_nan_does_not_enter_a_filters_mean(make):
    broken = lambda p, i: curved(p, i) * jnp.nan
    (*_, after), state = steps(make(0.1), [curved, broken, curved])
    assert jnp.isfinite(after).all()
    np.testing.assert_allclose(optax.tree.get(state, "mean"), curved(W, 0), rtol=1e-6)


@pytest.mark.parametrize("size", [1e-25, 1e25, np.inf, np.nan])
def test_norms_beyond_float32_leave_an_adaptive_policy_as_documented(size):
    tx = ol.ae_sam(0.1, total_steps=10)
    of_size = lambda p, i: size * p
    (plain,), state = steps(tx, [of_size])
    np.testing.assert_array_equal(plain, of_size(W, 0))
    assert optax.tree.get(state, "applied") == 0
    statistics = optax.tree.get(state, "decision_state")
    if size == 1e-25:  # as a zero gradient
        _, zero = steps(tx, [lambda p, i: 0 * p])
        assert statistics == optax.tree.get(zero, "decision_state")
    else:
        assert statistics == optax.tree.get(tx.init(W), "decision_state")
