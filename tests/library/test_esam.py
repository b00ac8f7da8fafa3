"""ESAM: stochastic weight perturbation and sharpness-sensitive data selection."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import quadratic


def perturb(rule, grads, state=None):
    return rule.update(grads, rule.init(grads) if state is None else state, grads)


def test_a_random_fraction_of_the_weights_is_perturbed_and_scaled_up():
    grads = {"a": jnp.linspace(1.0, 2.0, 3000), "b": jnp.ones((50, 50))}
    full, _ = perturb(ol.sam_perturbation(0.5), grads)
    some, _ = perturb(ol.stochastic_perturbation(ol.sam_perturbation(0.5), beta=0.6), grads)
    for name in grads:
        perturbed = np.asarray(some[name]) != 0
        assert abs(perturbed.mean() - 0.6) < 0.05
        np.testing.assert_allclose(some[name][perturbed], full[name][perturbed] / 0.6, rtol=1e-5)


def test_the_expectation_over_masks_is_the_full_perturbation():
    grads = jnp.array([1.0, -2.0, 3.0])
    draw = lambda key: perturb(
        ol.stochastic_perturbation(ol.sam_perturbation(1.0), 0.6, key), grads
    )[0]
    mean = jax.vmap(draw)(jax.random.split(jax.random.key(0), 20_000)).mean(0)
    np.testing.assert_allclose(mean, grads / jnp.linalg.norm(grads), atol=0.02)


def test_beta_one_is_the_rule_itself():
    grads = jnp.array([1.0, -2.0, 3.0])
    whole, _ = perturb(ol.stochastic_perturbation(ol.asam_perturbation(1.0), beta=1.0), grads)
    np.testing.assert_array_equal(whole, perturb(ol.asam_perturbation(1.0), grads)[0])


def test_all_ascent_steps_of_a_training_step_share_one_mask():
    seen = []
    rule = ol.stochastic_perturbation(ol.sam_perturbation(1.0), 0.5, key=3)
    w = jnp.zeros(64)
    tx = ol.multistep(rule, k=2)

    def grad_fn(params, i):
        jax.debug.callback(lambda p: seen.append(np.asarray(p) != 0), params)
        return jnp.ones(64)

    state = tx.init(w)
    for _ in range(2):
        _, state = tx.update(jnp.ones(64), state, w, grad_fn=grad_fn)
        jax.effects_barrier()
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[2], seen[3])
    assert (seen[0] != seen[2]).any()


def test_esam_is_multistep_around_the_stochastic_rule(float64):
    matrix, w = map(jnp.asarray, quadratic())
    results = []
    rule = ol.stochastic_perturbation(ol.sam_perturbation(0.3), 0.6, 7)
    for tx in (ol.esam(0.3, 0.6, 7), ol.multistep(rule)):
        results.append(tx.update(matrix @ w, tx.init(w), w, grad_fn=lambda p, i: matrix @ p)[0])
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("gamma", "selected"), [(1.0, 8), (0.5, 4), (0.3, 2), (0.01, 1)])
def test_the_gradient_is_taken_on_the_examples_whose_loss_rose_most(gamma, selected, float64):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(8, 3)), rng.normal(size=3)
    losses = lambda w: jnp.square(jnp.asarray(x) @ w)  # gradient 2 x (x w)
    perturbed = w + 0.5 * rng.normal(size=3)
    grad_fn = ol.sharpest_examples_grad_fn(losses, jnp.asarray(w), gamma)
    result = jax.jit(grad_fn)(jnp.asarray(perturbed), 0)
    chosen = np.argsort((x @ perturbed) ** 2 - (x @ w) ** 2)[-selected:]
    expected = np.mean(2 * x[chosen] * (x[chosen] @ perturbed)[:, None], axis=0)
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_esam_with_example_selection_trains():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(32, 4)), jnp.float32)
    y = x @ jnp.array([1.0, -2.0, 0.5, 3.0])
    losses = lambda w: jnp.square(x @ w - y)
    tx = optax.chain(ol.esam(0.05, beta=0.6), optax.sgd(0.05))
    w = jnp.zeros(4)

    @jax.jit
    def step(w, state):
        grads = jax.grad(lambda w: losses(w).mean())(w)
        grad_fn = ol.sharpest_examples_grad_fn(losses, w)
        updates, state = tx.update(grads, state, w, grad_fn=grad_fn)
        return optax.apply_updates(w, updates), state

    state = tx.init(w)
    for _ in range(200):
        w, state = step(w, state)
    assert losses(w).mean() < 0.05 * losses(jnp.zeros(4)).mean()
