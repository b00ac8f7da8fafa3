"""Multistep ascent against NumPy and optax.contrib.sam."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import batches, network, quadratic


def ascend(matrix, w, rho, k, eta=None):
    """The gradients g_0 .. g_k of ``w A w / 2`` along the ascent, in NumPy."""
    at, gradients = w, [matrix @ w]
    for _ in range(k):
        t = np.ones_like(w) if eta is None else np.abs(at) + eta
        g = gradients[-1]
        at = at + rho * t**2 * g / np.linalg.norm(t * g)
        gradients.append(matrix @ at)
    return gradients


def emitted(tx, matrix, w):
    matrix = jnp.asarray(matrix)
    grads = matrix @ w
    return tx.update(grads, tx.init(w), w, grad_fn=lambda p, i: matrix @ p)[0]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_multistep_emits_the_gradient_after_k_ascent_steps(k, float64):
    matrix, w = quadratic()
    result = emitted(ol.multistep_sam(k, 0.3), matrix, jnp.asarray(w))
    np.testing.assert_allclose(result, ascend(matrix, w, 0.3, k)[-1], rtol=1e-12)
    result = emitted(ol.multistep_asam(k, 0.3, eta=0.1), matrix, jnp.asarray(w))
    np.testing.assert_allclose(result, ascend(matrix, w, 0.3, k, eta=0.1)[-1], rtol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_average_emits_the_mean_of_the_perturbed_gradients(k, float64):
    matrix, w = quadratic()
    expected = np.mean(ascend(matrix, w, 0.3, k)[1:], axis=0)
    result = emitted(ol.multistep_sam(k, 0.3, average=True), matrix, jnp.asarray(w))
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    expected = np.mean(ascend(matrix, w, 0.3, k, eta=0.01)[1:], axis=0)
    result = emitted(ol.multistep_asam(k, 0.3, average=True), matrix, jnp.asarray(w))
    np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("alias", "perturbation"),
    [(ol.sam(0.2), ol.sam_perturbation(0.2)), (ol.asam(0.2), ol.asam_perturbation(0.2))],
)
def test_sam_and_asam_are_one_step(alias, perturbation, float64):
    matrix, w = quadratic()
    one = emitted(alias, matrix, jnp.asarray(w))
    np.testing.assert_array_equal(one, emitted(ol.multistep(perturbation), matrix, jnp.asarray(w)))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_multistep_sam_equals_optax_contrib_sam(k, float64):
    params, loss_fn = network(dtype=jnp.float64)
    data = jax.tree.map(lambda x: x[0], batches(dtype=jnp.float64))
    theirs = optax.contrib.sam(
        optax.sgd(0.1),
        optax.chain(optax.contrib.normalize(), optax.sgd(0.05)),
        sync_period=k + 1,
        opaque_mode=True,
    )
    grad_fn = lambda p, i: jax.grad(loss_fn)(p, data)  # the plain protocol, which is Optax's
    results = []
    for tx in (theirs, optax.chain(ol.multistep_sam(k, 0.05), optax.sgd(0.1))):

        @jax.jit
        def step(weights, state):
            grads = grad_fn(weights, 0)
            updates, state = tx.update(grads, state, weights, grad_fn=grad_fn)
            return optax.apply_updates(weights, updates), state

        weights, state = params, tx.init(params)
        for _ in range(5):
            weights, state = step(weights, state)
        results.append(weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), *results)


def test_counters_of_the_perturbation_advance_once_per_training_step():
    matrix, w = quadratic()
    grad_fn = lambda p, i: jnp.asarray(matrix, jnp.float32) @ p
    tx = ol.multistep_sam(4, optax.constant_schedule(0.1))
    w = jnp.asarray(w, jnp.float32)
    state = tx.init(w)
    for _ in range(3):
        _, state = tx.update(grad_fn(w, 0), state, w, grad_fn=grad_fn)
    assert optax.tree.get(state, "count") == 3


def test_all_inner_steps_of_a_training_step_use_the_same_scheduled_rho(float64):
    matrix, w = quadratic()
    schedule = optax.piecewise_constant_schedule(0.1, {1: 2.0})
    tx = ol.multistep_sam(3, schedule)
    w_jax = jnp.asarray(w)
    grad_fn = lambda p, i: jnp.asarray(matrix) @ p
    state = tx.init(w_jax)
    first, state = tx.update(grad_fn(w_jax, 0), state, w_jax, grad_fn=grad_fn)
    second, _ = tx.update(grad_fn(w_jax, 0), state, w_jax, grad_fn=grad_fn)
    np.testing.assert_allclose(first, ascend(matrix, w, 0.1, 3)[-1], rtol=1e-12)
    np.testing.assert_allclose(second, ascend(matrix, w, 0.2, 3)[-1], rtol=1e-12)


def test_lookahead_sam_is_sam_in_front_of_optax_lookahead():
    params, loss_fn = network()
    data = jax.tree.map(lambda x: x[0], batches())
    tx = optax.chain(
        ol.sam(0.05), optax.lookahead(optax.sgd(0.5), sync_period=5, slow_step_size=0.5)
    )
    params = optax.LookaheadParams.init_synced(params)
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        grad_fn = lambda p, i: jax.grad(loss_fn)(p, data)
        updates, state = tx.update(grad_fn(params.fast, 0), state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    before = loss_fn(params.slow, data)
    for _ in range(50):
        params, state = step(params, state)
    assert loss_fn(params.slow, data) < before / 2
    np.testing.assert_allclose(params.slow["out"]["w"], params.fast["out"]["w"], rtol=1e-5)
