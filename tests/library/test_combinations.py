"""Combinations of the plain and the perturbed gradient: formulas, states, devices."""

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


def given(method, plain, perturbed):
    """The gradient that a method emits for a given plain and perturbed gradient."""
    w = jnp.zeros(2)
    return method.update(plain, method.init(w), w, grad_fn=lambda p, i: perturbed)[0]


def test_gsam_subtracts_the_part_of_the_plain_gradient_orthogonal_to_the_perturbed_one():
    # g = (1, 2), g_s = (2, 0): the orthogonal part is (0, 2).
    result = given(ol.gsam(0.3, alpha=0.25), jnp.array([1.0, 2.0]), jnp.array([2.0, 0.0]))
    np.testing.assert_allclose(result, [2.0, -0.5])


def test_saner_shrinks_components_between_zero_and_the_plain_gradient():
    tx, w = ol.saner(0.3, alpha=0.25), jnp.zeros(6)
    g = jnp.array([2.0, -2.0, 2.0, 2.0, 0.0, 2.0])
    g_s = jnp.array([1.0, -1.0, 3.0, -1.0, 1.0, 2.0])
    result, _ = tx.update(g, tx.init(w), w, grad_fn=lambda p, i: g_s)
    np.testing.assert_allclose(result, [0.75, -0.75, 3.0, -1.0, 1.0, 2.0])


@pytest.mark.parametrize(
    "make",
    [
        lambda alpha: ol.gsam(1e-9, alpha),
        lambda alpha: ol.gnp(1e-9, alpha),
        lambda alpha: ol.saner(1e-9, alpha),
        lambda alpha: ol.xsam(1e-9, alpha),
    ],
)
def test_alpha_may_be_a_schedule_of_training_steps(make):
    plain, perturbed = jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])
    schedule = lambda t: 0.1 + 0.2 * t
    tx, w = make(schedule), jnp.zeros(2)
    state = tx.init(w)
    for t in range(3):
        updates, state = tx.update(plain, state, w, grad_fn=lambda p, i: perturbed)
        expected = given(make(schedule(t)), plain, perturbed)
        np.testing.assert_allclose(updates, expected, rtol=1e-6)


def rotated(v_0, g, alpha):
    """XSAM's formula with the angle from the cosine."""
    v_0, v_1 = v_0 / np.linalg.norm(v_0), g / np.linalg.norm(g)
    psi = np.arccos(v_0 @ v_1)
    mixed = np.sin((1 - alpha) * psi) * v_0 + np.sin(alpha * psi) * v_1
    return np.linalg.norm(g) * mixed / np.sin(psi)


def combined(displacement, g, alpha=1.4):
    combine = ol.interpolated(alpha)
    state = combine.init(g)
    return combine.combine(state, g, jnp.asarray(g), jnp.asarray(displacement))[0]


def test_the_gradient_is_rotated_in_the_plane_of_both_and_keeps_its_length(float64):
    displacement, g = np.array([0.1, 0.0, 0.2]), np.array([1.0, -2.0, 0.5])
    for alpha in (0.0, 0.5, 1.4):
        result = combined(displacement, g, alpha)
        np.testing.assert_allclose(result, rotated(displacement, g, alpha), rtol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(result), np.linalg.norm(g), rtol=1e-12)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_parallel_directions_are_mixed_linearly(sign):
    g = np.array([3.0, 4.0], np.float32)
    weight = (1 - 1.4) * sign + 1.4
    np.testing.assert_allclose(combined(sign * 0.1 * g, g), weight * g, rtol=1e-4)


def test_a_zero_gradient_emits_zero_and_a_zero_displacement_the_gradient():
    g = jnp.array([3.0, 4.0])
    np.testing.assert_array_equal(combined(g, jnp.zeros(2)), jnp.zeros(2))
    np.testing.assert_allclose(combined(jnp.zeros(2), g), g, rtol=1e-6)
    assert np.isnan(combined(g, g * jnp.nan)).all()


def test_devices_rotate_their_own_gradients_from_their_own_displacements(float64):
    matrix, w = map(np.asarray, quadratic())
    centres = np.random.default_rng(0).normal(size=(2, len(w)))
    tx = ol.xsam(0.3, 1.4, axis_name="data", sync_perturbation=False)

    def device(centre):
        grad_fn = lambda p, i: matrix @ p - centre
        return tx.update(grad_fn(w, 0), tx.init(w), jnp.asarray(w), grad_fn=grad_fn)

    result, _ = jax.vmap(device, axis_name="data", out_axes=None)(jnp.asarray(centres))

    def by_hand(centre):
        g = matrix @ w - centre
        e = 0.3 * g / np.linalg.norm(g)
        return rotated(e, matrix @ (w + e) - centre, 1.4)

    np.testing.assert_allclose(result, np.mean([*map(by_hand, centres)], axis=0), rtol=1e-10)
