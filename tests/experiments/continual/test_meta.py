"""C-MAML and Lookbehind-C-MAML against hand-written loops and central differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import optax_lookbehind as ol
from experiments.continual.meta import (
    MetaLearner,
    adapted_weights,
    divide,
    meta_loss,
    perturbed_meta_gradient,
)
from tests.experiments.continual.problems import assert_close, gradient, loss, mlp, points

pytestmark = pytest.mark.usefixtures("float64")

CMAML = MetaLearner(inner_learning_rate=0.3)
LOOKBEHIND = MetaLearner(inner_learning_rate=0.3, k=3, rho=0.2, alpha=0.5)


@pytest.fixture
def batches():
    """Ten current examples and the meta batch."""
    return points(1, 10), points(2, 20)


def sgd(params, grads, rate=0.3):
    return jax.tree.map(lambda w, g: w - rate * g, params, grads)


@partial(jax.jit, static_argnums=0)
def meta_gradient(learner, params, current, meta_batch):
    parts = divide(current, learner.k)
    return jax.grad(meta_loss, argnums=2, has_aux=True)(learner, loss, params, parts, meta_batch)[0]


@partial(jax.jit, static_argnums=0)
def last_adapted(learner, params, parts):
    *_, adapted = adapted_weights(learner, loss, params, parts)
    return adapted


@pytest.mark.parametrize(
    "learner",
    [
        CMAML,
        pytest.param(CMAML._replace(meta_loss="last", k=2), marks=pytest.mark.slow),
        # Its e is a constant in the gradient, not in F.
        pytest.param(LOOKBEHIND._replace(rho=1e-4), marks=pytest.mark.slow),
    ],
    ids=["mean", "last", "lookbehind"],
)
def test_meta_gradient_equals_central_differences(learner, batches):
    params, (current, meta_batch) = mlp(), batches
    flat, unravel = ravel_pytree(params)
    parts = divide(current, learner.k)

    @jax.jit
    @jax.vmap
    def values(flat):
        return meta_loss(learner, loss, unravel(flat), parts, meta_batch)[0]

    steps = 1e-5 * np.eye(len(flat))
    expected = (values(flat + steps) - values(flat - steps)) / 2e-5
    found, _ = ravel_pytree(meta_gradient(learner, params, current, meta_batch))
    tolerance = 1e-8 if learner.rho is None else 1e-3  # of order rho: e moves with phi_0
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_first_order_is_the_mean_gradient_at_the_adapted_weights(batches):
    params, (current, meta_batch) = mlp(), batches
    learner = CMAML._replace(first_order=True)
    total = optax.tree.zeros_like(params)
    fast = params
    for part in divide(current, 5):
        fast = sgd(fast, gradient(fast, part))
        total = optax.tree.add_scale(total, 1 / 5, gradient(fast, meta_batch))
    assert_close(meta_gradient(learner, params, current, meta_batch), total)
    second = meta_gradient(CMAML, params, current, meta_batch)
    assert (
        max(
            float(jnp.abs(a - b).max())
            for a, b in zip(*map(jax.tree.leaves, (second, total)), strict=True)
        )
        > 1e-3
    )


def test_inner_gradients_are_clipped_elementwise(batches):
    params, (current, _) = mlp(), batches
    learner = CMAML._replace(k=1, clip=0.01)
    adapted = last_adapted(learner, params, [current])
    grads = jax.tree.map(lambda g: jnp.clip(g, -0.01, 0.01), gradient(params, current))
    assert_close(adapted, sgd(params, grads))


def test_the_metrics_are_those_of_the_last_adapted_weights(batches):
    current, meta_batch = batches

    def with_metrics(params, batch):
        value, _ = loss(params, batch)
        return value, {"seen": value}

    parts = divide(current, 5)
    *_, last = adapted_weights(CMAML, with_metrics, mlp(), parts)
    _, metrics = meta_loss(CMAML, with_metrics, mlp(), parts, meta_batch)
    assert metrics["seen"] == loss(last, meta_batch)[0]


def algorithm_4(params, parts, rho, alpha, rate=0.3):
    """Lines 8 to 15 of Algorithm 4 with phi' advanced by e, as line 7 of Algorithm 1."""
    fast = behind = params
    for part in parts:
        g = gradient(behind, part)
        behind = optax.tree.add_scale(behind, rho / optax.tree.norm(g), g)
        fast = sgd(fast, gradient(behind, part), rate)
    return jax.tree.map(lambda w, f: w + alpha * (f - w), params, fast)


def test_adapted_weights_are_those_of_algorithm_4(batches):
    params, parts = mlp(), divide(batches[0], 3)
    adapted = last_adapted(LOOKBEHIND, params, parts)
    assert_close(adapted, algorithm_4(params, parts, rho=0.2, alpha=0.5))


def test_adapted_weights_are_those_of_the_library(batches):
    params, k = mlp(), 2
    parts = divide(batches[0], k)
    learner = LOOKBEHIND._replace(k=k, clip=1e9)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *parts)
    tx = optax.chain(
        ol.lookbehind(ol.sam_perturbation(0.2), k, 0.5, switch_minibatch=True), optax.sgd(0.3)
    )

    def grad_fn(params, i):
        return gradient(params, jax.tree.map(lambda x: x[i], stacked))

    updates, _ = tx.update(grad_fn(params, 0), tx.init(params), params, grad_fn=grad_fn)
    adapted = last_adapted(learner, params, parts)
    assert_close(adapted, optax.apply_updates(params, updates))


def test_ascent_fixed_is_the_printed_algorithm(batches):
    params, parts = mlp(), divide(batches[0], 3)
    fast = params
    for part in parts:
        g = gradient(params, part)
        e = optax.tree.scale(0.2 / optax.tree.norm(g), g)
        fast = sgd(fast, gradient(optax.tree.add(params, e), part))
    learner = LOOKBEHIND._replace(ascent="fixed", alpha=1.0)
    adapted = last_adapted(learner, params, parts)
    assert_close(adapted, fast)


@pytest.mark.parametrize(("ascent", "k"), [("fast", 3), ("behind", 1), ("fixed", 1)])
def test_without_radius_and_interpolation_it_is_cmaml_with_a_sam_meta_step(ascent, k, batches):
    """For k > 1 the ascents "behind" and "fixed" take all inner gradients at phi_0 instead."""
    params, (current, meta_batch) = mlp(), batches
    limit = LOOKBEHIND._replace(k=k, alpha=1.0, rho=1e-12, ascent=ascent)
    cmaml = CMAML._replace(k=k)
    tx = optax.chain(ol.sam(0.1), optax.sgd(0.3))

    @partial(jax.jit, static_argnums=0)
    def step(learner, params):
        grads = meta_gradient(learner, params, current, meta_batch)
        grad_fn = perturbed_meta_gradient(learner, loss, params, divide(current, k), meta_batch)
        updates, _ = tx.update(grads, tx.init(params), params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates)

    assert_close(step(limit, params), step(cmaml, params), rtol=1e-8, atol=1e-10)


def test_without_radius_the_ascent_behind_takes_all_inner_gradients_at_the_slow_weights(batches):
    params, parts = mlp(), divide(batches[0], 5)
    learner = LOOKBEHIND._replace(k=5, alpha=1.0, rho=1e-12)
    adapted = last_adapted(learner, params, parts)
    fast = params
    for part in parts:
        fast = sgd(fast, gradient(params, part))
    assert_close(adapted, fast, rtol=1e-8)


@pytest.mark.parametrize(
    "meta_step", ["adapted", "slow", pytest.param("fast", marks=pytest.mark.slow)]
)
def test_gradients_of_the_meta_step(meta_step, batches):
    params, (current, meta_batch) = mlp(), batches
    learner = LOOKBEHIND._replace(meta_step=meta_step)
    parts = divide(current, 3)
    grads = meta_gradient(learner, params, current, meta_batch)
    e = optax.tree.scale(0.1 / optax.tree.norm(grads), grads)
    perturbed = optax.tree.add(params, e)

    def loss_with_offset(params):
        adapted = adapted_weights(learner, loss, params, parts)
        losses = [loss(optax.tree.add(weights, e), meta_batch)[0] for weights in adapted]
        return sum(losses) / len(losses)

    expected = {
        # F's gradient at phi_0 + e: the inner loop runs again from there.
        "adapted": lambda: meta_gradient(learner, perturbed, current, meta_batch),
        # As printed: the plain gradient at phi_0 + e.
        "slow": lambda: gradient(perturbed, meta_batch),
        # With respect to phi_0, of the loss at phi_k + e.
        "fast": lambda: jax.jit(jax.grad(loss_with_offset))(params),
    }[meta_step]()

    @jax.jit
    def sharpness_aware_gradient(params):
        tx = ol.sam(0.1)
        grad_fn = perturbed_meta_gradient(learner, loss, params, parts, meta_batch)
        return tx.update(grads, tx.init(params), params, grad_fn=grad_fn)[0]

    assert_close(sharpness_aware_gradient(params), expected)


def test_a_zero_inner_gradient_perturbs_nothing(batches):
    constant = lambda params, batch: (0.0 * params["w"].sum(), {})
    params = {"w": jnp.ones(3)}
    parts = divide(batches[0], 3)
    *_, adapted = adapted_weights(LOOKBEHIND, constant, params, parts)
    assert_close(adapted, params)


@pytest.mark.parametrize(("k", "sizes"), [(1, [10]), (2, [5, 5]), (3, [4, 4, 2]), (5, [2] * 5)])
def test_parts_of_a_batch(k, sizes, batches):
    parts = divide(batches[0], k)
    assert [len(part.y) for part in parts] == sizes
    np.testing.assert_array_equal(np.concatenate([part.x for part in parts]), batches[0].x)


@pytest.mark.parametrize("k", [6, 11])
def test_inner_steps_without_examples_raise(k, batches):
    with pytest.raises(ValueError, match=f"k={k}.*10"):
        divide(batches[0], k)
