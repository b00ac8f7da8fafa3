"""Combinations of the plain and the perturbed gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import batches, classification_loss, network, quadratic


def mix(clean, perturbed, weight):
    return jax.tree.map(lambda g, g_s: (1 - weight) * g + weight * g_s, clean, perturbed)


def weighted(weight, k=1, **options):
    combine = ol.combination(mix, weight=weight)
    return ol.multistep(ol.sam_perturbation(0.3), k, combine=combine, **options)


def emitted(tx, matrix, w, state=None):
    state = tx.init(w) if state is None else state
    return tx.update(matrix @ w, state, w, grad_fn=lambda p, i: matrix @ p)


@pytest.mark.parametrize("average", [False, True])
def test_a_combination_gets_the_plain_and_the_perturbed_gradient(average, float64):
    matrix, w = map(jnp.asarray, quadratic())
    perturbed, _ = emitted(ol.multistep_sam(3, 0.3, average), matrix, w)
    result, _ = emitted(weighted(0.8, k=3, average=average), matrix, w)
    np.testing.assert_allclose(result, 0.2 * matrix @ w + 0.8 * perturbed, rtol=1e-12)


def test_a_coefficient_may_be_a_schedule_of_training_steps_with_and_without_a_policy(float64):
    matrix, w = map(jnp.asarray, quadratic())
    perturbed, _ = emitted(ol.sam(0.3), matrix, w)
    scheduled = weighted(lambda step: 0.1 * step)
    for tx in (scheduled, weighted(lambda step: 0.1 * step, policy=ol.periodic_policy(2))):
        state = tx.init(w)
        for _ in range(3):
            result, state = emitted(tx, matrix, w, state)
        expected = 0.8 * matrix @ w + 0.2 * perturbed  # the weight of step 2
        np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_a_coefficient_is_adjustable_under_inject_hyperparams():
    matrix, w = map(jnp.asarray, quadratic())
    tx = optax.inject_hyperparams(lambda weight: weighted(weight))(weight=0.5)
    state = tx.init(w)
    state.hyperparams["weight"] = jnp.asarray(0.0)
    result, _ = emitted(tx, matrix, w, state)
    np.testing.assert_allclose(result, matrix @ w, rtol=1e-6)


def normalized(clean, perturbed):
    return optax.tree.scale(optax.tree.norm(clean) / optax.tree.norm(perturbed), perturbed)


@pytest.mark.parametrize("sync", [True, False])
def test_gradients_are_combined_on_each_device_and_then_averaged(sync, float64):
    params, batch = network(dtype=jnp.float64)[0], batches(1, 32, jnp.float64)
    x, y = batch[0][0].reshape(4, 8, 4), batch[1][0].reshape(4, 8)
    options = {"axis_name": "data", "sync_perturbation": sync}
    combine = ol.combination(normalized)
    tx = ol.multistep(ol.sam_perturbation(0.3), combine=combine, **options)

    def device(x, y):
        grad_fn = lambda p, i: jax.grad(classification_loss)(p, (x, y))
        return tx.update(grad_fn(params, 0), tx.init(params), params, grad_fn=grad_fn)[0]

    result = jax.vmap(device, axis_name="data", out_axes=None)(x, y)

    def by_hand(x, y):
        grad = jax.grad(classification_loss)
        clean = grad(params, (x, y))
        p = optax.tree.add_scale(params, 0.3 / optax.tree.norm(clean), clean)
        return normalized(clean, grad(p, (x, y)))

    if sync:  # one device on the global batch
        expected = by_hand(x.reshape(32, 4), y.reshape(32))
    else:
        expected = jax.tree.map(lambda g: g.mean(0), jax.vmap(by_hand)(x, y))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), result, expected)


def test_reuse_direction_outside_a_policy_changes_nothing(float64):
    matrix, w = map(jnp.asarray, quadratic())
    tx = ol.multistep(ol.sam_perturbation(0.3), combine=ol.reuse_direction(0.5))
    result, state = emitted(tx, matrix, w)
    expected, _ = emitted(ol.sam(0.3), matrix, w)
    np.testing.assert_array_equal(result, expected)
    g = matrix @ w
    np.testing.assert_allclose(
        optax.tree.get(state, "sharp_direction"),
        expected - (expected @ g) / (g @ g) * g,
        rtol=1e-10,
    )
