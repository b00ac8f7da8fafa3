"""Filters and masks of perturbations: averages, under other loops and policies, the radius."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.variants import (
    is_norm,
)

RHO = 0.3
exact = pytest.mark.usefixtures("float64")


def gradients(steps=6, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, 3))


def means(grads, decay):
    """Friendly SAM's mean after each step, which starts at the first gradient."""
    m, result = grads[0], []
    for g in grads:
        m = decay * m + (1 - decay) * g
        result.append(m)
    return result


def friendly():
    return optax.chain(ol.friendly_filter(0.5, 0.8), ol.sam_perturbation(1.0))


def run_state(tx, grads):
    """The state after steps with given plain gradients; perturbed ones are far away from them."""
    w = jnp.zeros(3)
    step = jax.jit(lambda g, state: tx.update(g, state, w, grad_fn=lambda p, i: 100 + p)[1])
    state = tx.init(w)
    for g in jnp.asarray(grads):
        state = step(g, state)
    return state


@exact
@pytest.mark.parametrize(
    "wrap",
    [
        lambda rule: ol.multistep(ol.stochastic_perturbation(rule), 2),
        lambda rule: ol.lookbehind(rule, 2, 0.5, fast_optimizer=optax.sgd(0.1)),
        lambda rule: ol.lookbehind(rule, 2, "adaptive", policy=ol.adaptive_policy(6)),
    ],
    ids=["stochastic multistep", "lookbehind with its optimizer", "policy around lookbehind"],
)
def test_a_filter_averages_the_plain_gradient_of_every_training_step(wrap):
    grads = gradients()
    state = run_state(wrap(friendly()), grads)
    np.testing.assert_allclose(optax.tree.get(state, "mean"), means(grads, 0.8)[-1], rtol=1e-12)


@exact
def test_friendly_sam_perturbs_along_the_gradient_less_its_mean_before():
    grads = gradients()
    rule = friendly()
    state, w = rule.init(jnp.zeros(3)), jnp.zeros(3)
    before = [np.zeros(3), *means(grads, 0.8)]
    for g, m in zip(grads, before, strict=False):
        e, state = rule.update(jnp.asarray(g), state, w)
        d = g - 0.5 * m
        np.testing.assert_allclose(e, d / np.linalg.norm(d), rtol=1e-12)


@exact
def test_filters_share_the_averaged_gradient_between_unsynced_devices():
    tx = ol.friendly_sam(RHO, axis_name="data", sync_perturbation=False)
    grads = jnp.asarray(gradients(2))

    def step(g):
        w = jnp.zeros(3)
        state = tx.init(w)
        return tx.update(g, state, w, grad_fn=lambda p, i: p + g)[1]

    # out_axes=None raises for a state that differs between the devices.
    state = jax.vmap(step, axis_name="data", out_axes=None)(grads)
    np.testing.assert_allclose(optax.tree.get(state, "mean"), grads.mean(0), rtol=1e-12)


@pytest.mark.parametrize("make", [ol.friendly_filter, ol.vasso_filter])
def test_the_average_of_bfloat16_gradients_is_float32(make):
    tx, w = make(), jnp.ones(3, jnp.bfloat16)
    updates, state = tx.update(w, tx.init(w))
    assert updates.dtype == jnp.bfloat16
    assert state.mean.dtype == jnp.float32


@exact
@pytest.mark.parametrize(
    "mask", [{"hidden": False, "norm": True}, is_norm, {"hidden": False, "norm": {"s": True}}]
)
@pytest.mark.parametrize("rule", [ol.sam_perturbation, ol.asam_perturbation])
def test_masked_perturbation_perturbs_only_the_mask_with_the_full_radius(rule, mask):
    w = {"hidden": jnp.arange(3.0), "norm": {"s": jnp.ones(2)}}
    g = {"hidden": jnp.ones(3), "norm": {"s": jnp.array([3.0, -4.0])}}
    masked = ol.masked_perturbation(rule(0.5), mask)
    e, _ = masked.update(g, masked.init(w), w)
    alone = rule(0.5)
    expected, _ = alone.update(g["norm"], alone.init(w["norm"]), w["norm"])
    np.testing.assert_allclose(e["hidden"], 0)
    np.testing.assert_allclose(e["norm"]["s"], expected["s"], rtol=1e-12)


@pytest.mark.parametrize("mask", [False, lambda params: {"w": False}, {"w": False}])
def test_a_mask_without_any_weight_raises(mask):
    with pytest.raises(ValueError, match="mask"):
        ol.sam_on(0.5, mask).init({"w": jnp.ones(2)})
