"""C-MAML and Lookbehind-C-MAML against hand-written loops and central differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import optax_lookbehind as ol
from experiments.tasks.continual.meta import (
    MetaLearner,
    adapted_weights,
    divide,
    meta_loss,
)
from tests.experiments.tasks.continual.problems import assert_close, gradient, loss, mlp, points

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
        # Its e is a constant in the gradient, not in F.
        pytest.param(LOOKBEHIND._replace(rho=1e-4), marks=pytest.mark.slow),
    ],
    ids=["cmaml", "lookbehind"],
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


def test_without_a_radius_one_inner_step_is_that_of_cmaml(batches):
    """For k > 1 the ascent, behind, takes all inner gradients at phi_0 instead."""
    params, (current, meta_batch) = mlp(), batches
    limit = LOOKBEHIND._replace(k=1, alpha=1.0, rho=1e-12)
    gradients = [
        meta_gradient(learner, params, current, meta_batch)
        for learner in (limit, CMAML._replace(k=1))
    ]
    assert_close(*gradients, rtol=1e-8, atol=1e-10)


def test_without_radius_the_ascent_behind_takes_all_inner_gradients_at_the_slow_weights(batches):
    params, parts = mlp(), divide(batches[0], 5)
    learner = LOOKBEHIND._replace(k=5, alpha=1.0, rho=1e-12)
    adapted = last_adapted(learner, params, parts)
    fast = params
    for part in parts:
        fast = sgd(fast, gradient(params, part))
    assert_close(adapted, fast, rtol=1e-8)


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
