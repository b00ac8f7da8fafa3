"""ESAM's stochastic perturbation: its share of the weights, its expectation, its key."""

import jax
import jax.numpy as jnp
import numpy as np

import optax_lookbehind as ol


def perturb(rule, grads):
    return rule.update(grads, rule.init(grads), grads)


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
