"""Momentum-SAM and decoupled WSAM, which contain the optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.variants import (
    LEARNING_RATE,
    flatten,
    loss_fn,
    make_step,
    minibatches,
    sgd,
    start,
    train,
)

RHO = 0.3
exact = pytest.mark.usefixtures("float64")


@exact
@pytest.mark.parametrize(
    "optimizer",
    [
        optax.sgd(0.1, momentum=0.9, nesterov=True),
        optax.adamw(0.05, weight_decay=0.1),
        optax.lion(0.05),
        optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9)),
        optax.inject_hyperparams(optax.sgd)(0.1, momentum=0.9),
        optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.05)),
    ],
    ids=["nesterov", "adamw", "lion", "decayed sgd", "injected", "clipped adam"],
)
def test_momentum_sam_is_the_optimizer_at_the_weights_without_the_perturbation(optimizer):
    # The optimizer gets the gradients at w + e and moves w: weight decay does not see e.
    tx = ol.momentum_sam(optimizer, RHO)
    step, grad, update = (
        jax.jit(make_step(tx)),
        jax.jit(jax.grad(loss_fn)),
        jax.jit(optimizer.update),
    )
    params, batch = start(), jax.tree.map(lambda x: x[0], minibatches())
    state, w, own_state = tx.init(params), params, optimizer.init(params)
    for _ in range(3):
        u, own_state = update(grad(params, batch), own_state, w)
        w = optax.apply_updates(w, u)
        params, state = step(params, state, batch)
        clean = ol.momentum_sam_eval_params(state, params)
        np.testing.assert_allclose(flatten(clean), flatten(w), rtol=0, atol=1e-12)
        distance = np.linalg.norm(flatten(params) - flatten(w))
        np.testing.assert_allclose(distance, RHO, rtol=1e-12)


@exact
def test_momentum_sam_perturbs_along_the_last_update():
    tx, w = ol.momentum_sam(sgd(), RHO), jnp.zeros(2)
    updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(w), w)
    u = ol.momentum_sam_eval_params(state, updates)
    np.testing.assert_allclose(u, -LEARNING_RATE * np.array([3.0, 4.0]), rtol=1e-12)
    np.testing.assert_allclose(updates - u, -RHO * np.array([0.6, 0.8]), rtol=1e-12)


@exact
def test_a_scheduled_rho_takes_off_the_perturbation_it_put_on():
    radii = [0.0, 0.5, 0.0, 0.2]
    tx = ol.momentum_sam(sgd(), lambda t: jnp.asarray(radii)[t])
    _, states = train(tx, steps=4)
    distances = [
        np.linalg.norm(flatten(params) - flatten(ol.momentum_sam_eval_params(state, params)))
        for state, params in states
    ]
    np.testing.assert_allclose(distances, radii, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "least", "most"), [("bfloat16", 0.1, 1), ("float32", 0, 1e-4)])
def test_weights_recovered_from_perturbed_ones_drift_in_bfloat16(dtype, least, most):
    tx = ol.momentum_sam(optax.sgd(0.0, momentum=0.9), RHO)  # learns nothing
    start = jax.random.normal(jax.random.key(0), (100,), dtype)

    def step(carry, key):
        params, state = carry
        grads = jax.random.normal(key, (100,), dtype)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(1), 1000)
    (params, state), _ = jax.lax.scan(step, (start, tx.init(start)), keys)
    drift = jnp.abs(ol.momentum_sam_eval_params(state, params) - start).max()
    assert least <= drift <= most


def test_momentum_sam_keeps_no_copy_of_the_weights():
    w = jnp.ones(1000)
    size = lambda tx: sum(leaf.size for leaf in jax.tree.leaves(tx.init(w)))
    assert size(ol.momentum_sam(sgd(), RHO)) == size(sgd()) + 2


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.sgd(0.1),
        optax.chain(optax.trace(0.9), optax.adam(0.1)),
        optax.masked(optax.adam(0.1), {"a": True, "b": False}),
    ],
)
def test_momentum_sam_needs_one_momentum_of_all_weights(optimizer):
    with pytest.raises(ValueError, match="optimizer"):
        ol.momentum_sam(optimizer, RHO).init({"a": jnp.ones(2), "b": jnp.ones(2)})


def test_momentum_sam_is_found_under_wrappers_and_among_weights_called_mu():
    params = {"mu": jnp.ones(2), "trace": jnp.ones(3)}
    tx = optax.MultiSteps(ol.momentum_sam(optax.adam(0.1), RHO), 1).gradient_transformation()
    state = tx.init(params)
    updates, state = tx.update(params, state, params)
    moved = optax.apply_updates(params, updates)
    clean = ol.momentum_sam_eval_params(state, moved)
    distance = optax.tree.norm(optax.tree.sub(moved, clean))
    np.testing.assert_allclose(distance, RHO, rtol=1e-5)


def test_momentum_sam_eval_params_needs_the_state():
    params = jnp.ones(2)
    with pytest.raises(ValueError, match="state"):
        ol.momentum_sam_eval_params(sgd().init(params), params)


@exact
def test_wsam_decoupled_takes_a_schedule_as_learning_rate():
    radius = 1e-9  # g_s is given: only the sharpness term depends on the rate
    tx = ol.wsam_decoupled(optax.sgd(0.0), lambda t: 0.1 * (1 + t), radius, gamma=0.75)
    w, g, g_s = jnp.zeros(2), jnp.array([1.0, 2.0]), jnp.array([2.0, 5.0])
    state = tx.init(w)
    for t in range(3):
        updates, state = tx.update(g, state, w, grad_fn=lambda p, i: g_s)
        np.testing.assert_allclose(updates, -0.1 * (1 + t) * 3 * (g_s - g), rtol=1e-6)
