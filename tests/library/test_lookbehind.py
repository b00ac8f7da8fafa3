"""Lookbehind against Algorithm 1 in NumPy: both forms, fixed, scheduled and adaptive alpha."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optax_lookbehind as ol
from tests.support.problems import batches, network, quadratic


def unit(vector):
    norm = np.linalg.norm(vector)
    return vector / norm if norm > 0 else vector


def algorithm_1(gradient, w, k, rho, lr, alpha, steps=1):
    """Lookbehind-SAM with SGD in NumPy, alpha None being adaptive; returns w and the last alpha."""
    for _ in range(steps):
        behind, fast, g = w, w, gradient(w)
        first = None
        for _ in range(k):
            behind = behind + rho * unit(g)
            g = gradient(behind)
            fast = fast - lr * g
            first = fast - w if first is None else first
        # Equations 7 and 8.
        used = (unit(first) @ unit(fast - w) + 1) / 2 if alpha is None else alpha
        w = w + used * (fast - w)
    return w, used


def train(tx, matrix, w, steps):
    matrix, w = jnp.asarray(matrix), jnp.asarray(w)
    state = tx.init(w)
    for _ in range(steps):
        updates, state = tx.update(matrix @ w, state, w, grad_fn=lambda p, i: matrix @ p)
        w = optax.apply_updates(w, updates)
    return w, optax.tree.get(state, "alpha")


@settings(max_examples=20, deadline=None)
@given(
    k=st.integers(1, 6),
    rho=st.floats(0.01, 2.0),
    alpha=st.none() | st.floats(0.1, 1.0),
    inside=st.booleans(),
    seed=st.integers(0, 100),
)
def test_both_forms_follow_algorithm_1_with_fixed_and_adaptive_alpha(k, rho, alpha, inside, seed):
    matrix, w = quadratic(seed=seed)
    given_alpha = "adaptive" if alpha is None else alpha
    with jax.enable_x64(True):
        if inside:
            tx = ol.lookbehind_sam(k, rho, given_alpha, fast_optimizer=optax.sgd(0.1))
        else:
            tx = optax.chain(ol.lookbehind_sam(k, rho, given_alpha), optax.sgd(0.1))
        result, used = train(tx, matrix, w, steps=3)
    expected, expected_alpha = algorithm_1(lambda p: matrix @ p, w, k, rho, 0.1, alpha, steps=3)
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(used, expected_alpha, rtol=1e-12)


def test_adaptive_alpha_is_one_for_one_step_and_for_steps_that_agree(float64):
    assert train(ol.lookbehind_sam(1, 0.1, "adaptive"), *quadratic(), steps=1)[1] == 1
    # Under a constant gradient all fast steps point the same way.
    tx = ol.lookbehind_sam(4, 0.1, "adaptive")
    w, g = jnp.ones(3), jnp.array([1.0, -2.0, 3.0])
    _, state = tx.update(g, tx.init(w), w, grad_fn=lambda p, i: g)
    np.testing.assert_allclose(state.alpha, 1.0)


@pytest.mark.parametrize("cosine", [-1.0, -0.5, 0.0, 0.7])
def test_adaptive_alpha_is_half_the_cosine_plus_one(cosine, float64):
    first = np.array([1.0, 0.0])
    whole = 2.0 * np.array([cosine, np.sqrt(1 - cosine**2)])
    gradients = jnp.asarray(np.stack([first, whole - first]))
    tx = ol.lookbehind_sam(2, 0.1, "adaptive")
    w = jnp.ones(2)
    updates, state = tx.update(gradients[0], tx.init(w), w, grad_fn=lambda p, i: gradients[i])
    np.testing.assert_allclose(state.alpha, (cosine + 1) / 2, atol=1e-12)
    np.testing.assert_allclose(updates, (cosine + 1) / 2 * whole, atol=1e-12)


def test_per_tensor_alpha_treats_each_leaf_alone(float64):
    params, loss_fn = network(dtype=jnp.float64)
    data = jax.tree.map(lambda x: x[0], batches(dtype=jnp.float64))
    grad_fn = lambda p, i: jax.grad(loss_fn)(p, data)
    grads = grad_fn(params, 0)
    per_tensor = ol.lookbehind_sam(3, 0.5, "adaptive_per_tensor")
    _, state = per_tensor.update(grads, per_tensor.init(params), params, grad_fn=grad_fn)
    # With alpha = 1 the sums after one and after three inner steps come out.
    one, three = ol.lookbehind_sam(1, 0.5, 1.0), ol.lookbehind_sam(3, 0.5, 1.0)
    first, _ = one.update(grads, one.init(params), params, grad_fn=grad_fn)
    total, _ = three.update(grads, three.init(params), params, grad_fn=grad_fn)
    expected = jax.tree.map(
        lambda a, b: (unit(np.ravel(a)) @ unit(np.ravel(b)) + 1) / 2, first, total
    )
    alpha = optax.tree.get(state, "alpha")
    np.testing.assert_allclose(alpha, jax.tree.leaves(expected), rtol=1e-12)
    assert len(set(map(float, alpha))) == 4


def test_alpha_may_be_a_schedule_of_the_training_step(float64):
    matrix, w = quadratic()
    schedule = optax.piecewise_constant_schedule(0.8, {1: 0.5})
    tx = optax.chain(ol.lookbehind_sam(2, 0.1, schedule), optax.sgd(0.1))
    result, used = train(tx, matrix, w, steps=2)
    after_one, _ = algorithm_1(lambda p: matrix @ p, w, 2, 0.1, 0.1, 0.8)
    expected, _ = algorithm_1(lambda p: matrix @ p, after_one, 2, 0.1, 0.1, 0.4)
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    np.testing.assert_allclose(used, 0.4)


def test_the_state_of_the_fast_optimizer_is_carried_across_inner_and_outer_steps(float64):
    matrix, w = quadratic()
    matrix = jnp.asarray(matrix)
    fast = optax.adamw(0.01, weight_decay=0.1)
    tx = ol.lookbehind_sam(3, 0.1, 0.7, fast_optimizer=fast)
    slow = w = jnp.asarray(w)
    state, fast_state = tx.init(w), fast.init(w)
    for _ in range(3):
        updates, state = tx.update(matrix @ w, state, w, grad_fn=lambda p, i: matrix @ p)
        w = optax.apply_updates(w, updates)
        # The same by hand.
        behind, weights, g = slow, slow, matrix @ slow
        for _ in range(3):
            behind = behind + 0.1 * g / jnp.linalg.norm(g)
            g = matrix @ behind
            move, fast_state = fast.update(g, fast_state, weights)
            weights = weights + move
        slow = slow + 0.7 * (weights - slow)
    np.testing.assert_allclose(w, slow, rtol=1e-12)
    assert optax.tree.get(state.fast_state, "count") == 9


def test_switch_minibatch_ascends_and_descends_on_the_inner_steps_own_minibatch(float64):
    # Gradient of batch b at p: p - centre[b].
    centres = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)))
    w = jnp.ones(4)
    tx = ol.lookbehind_sam(3, 0.1, 1.0, switch_minibatch=True)
    total, _ = tx.update(w - centres[0], tx.init(w), w, grad_fn=lambda p, i: p - centres[i])
    at, expected = np.ones(4), np.zeros(4)
    for centre in np.asarray(centres):
        at = at + 0.1 * unit(at - centre)
        expected += at - centre
    np.testing.assert_allclose(total, expected, rtol=1e-12)


@pytest.mark.parametrize(("alpha", "first"), [(0.5, 0.5), (lambda t: 0.2, 0.2), ("adaptive", 1)])
def test_before_the_first_step_the_state_holds_the_alpha_to_start_from(alpha, first):
    state = ol.lookbehind_sam(2, 0.1, alpha).init(jnp.ones(2))
    np.testing.assert_allclose(optax.tree.get(state, "alpha"), first, rtol=1e-6)


def test_the_fast_optimizer_gets_extra_arguments():
    matrix, w = quadratic()
    matrix, w = jnp.asarray(matrix, jnp.float32), jnp.asarray(w, jnp.float32)
    tx = ol.lookbehind_sam(2, 0.1, 0.5, fast_optimizer=optax.polyak_sgd())
    updates, _ = tx.update(
        matrix @ w, tx.init(w), w, grad_fn=lambda p, i: matrix @ p, value=w @ matrix @ w / 2
    )
    assert jnp.linalg.norm(w + updates) < jnp.linalg.norm(w)


def test_low_precision_weights_take_gradients_of_higher_precision():
    w = jnp.ones(3, jnp.bfloat16)
    grad_fn = lambda p, i: p.astype(jnp.float32)
    tx = ol.lookbehind_sam(3, 0.1, "adaptive", fast_optimizer=optax.adam(0.1))
    updates, state = tx.update(grad_fn(w, 0), tx.init(w), w, grad_fn=grad_fn)
    assert jax.tree.map(lambda x: x.dtype, state) == jax.tree.map(lambda x: x.dtype, tx.init(w))
    assert np.isfinite(updates).all()


def test_sums_of_bfloat16_gradients_accumulate_in_float32():
    # 1 + 300 * 2**-9 in bfloat16 additions would stay at 1.
    gradients = jnp.array([[1.0], *[[2.0**-9]] * 300], jnp.bfloat16)
    tx = ol.lookbehind_sam(301, 1e-3, 1.0)
    w = jnp.ones(1, jnp.bfloat16)
    total, _ = tx.update(gradients[0], tx.init(w), w, grad_fn=lambda p, i: gradients[i])
    assert total.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(total, np.float32), 1 + 300 * 2.0**-9, rtol=1e-2)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("alpha", [0.5, 1.0, "adaptive"])
def test_under_a_constant_gradient_a_step_is_k_alpha_times_a_plain_one(k, alpha, float64):
    w, g = jnp.ones(3), jnp.array([1.0, -2.0, 3.0])
    factor = k * (1 if alpha == "adaptive" else alpha)
    sgd = optax.sgd(0.1)
    methods = {
        "lookbehind": ol.lookbehind(ol.sam_perturbation(0.05), k, alpha),
        "lookbehind_sam": ol.lookbehind_sam(k, 0.05, alpha),
        "lookbehind_asam": ol.lookbehind_asam(k, 0.5, alpha),
        "ae_lookbehind_sam": ol.ae_lookbehind_sam(k, 0.05, alpha, total_steps=10),
    }
    transformations = {name: optax.chain(method, sgd) for name, method in methods.items()}
    transformations["inside"] = ol.lookbehind_sam(k, 0.05, alpha, fast_optimizer=sgd)
    for name, tx in transformations.items():
        updates, _ = tx.update(g, tx.init(w), w, grad_fn=lambda p, i: g)
        np.testing.assert_allclose(updates, -0.1 * factor * g, rtol=1e-12, err_msg=name)
    # At the divided rate the step is the plain one.
    divided = optax.chain(ol.lookbehind_sam(k, 0.05, alpha), optax.sgd(0.1 / factor))
    updates, _ = divided.update(g, divided.init(w), w, grad_fn=lambda p, i: g)
    np.testing.assert_allclose(updates, -0.1 * g, rtol=1e-12)


@pytest.mark.parametrize("k", [2, 5, 10])
def test_the_first_step_on_a_quadratic_is_about_k_alpha_times_a_plain_one(k, float64):
    matrix, w = quadratic()
    moved, _ = train(optax.chain(ol.lookbehind_sam(k, 0.01, 0.5), optax.sgd(0.1)), matrix, w, 1)
    plain = 0.1 * np.linalg.norm(matrix @ w)
    # Each of the k gradients is taken at most k rho away, so |A e| <= |A| k rho for each.
    bound = k * 0.5 * 0.1 * np.linalg.norm(matrix, 2) * k * 0.01
    assert abs(np.linalg.norm(moved - w) - k * 0.5 * plain) <= bound < k * 0.5 * plain
