"""Recipes that are published methods follow the recorded trajectories."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.docs.test_recipes import run
from tests.support.variants import (
    NEWER_CASES,
    flatten,
    loss_of_outputs,
    make_functional_step,
    make_step,
    minibatches,
    outputs,
    sgd,
    start,
    train,
)

pytestmark = pytest.mark.usefixtures("float64")
SGD = {"rho=0.05": "rho=0.3", "optax.sgd(0.1)": "optax.sgd(0.2, momentum=0.9)"}


def example_losses(params, batch):
    x, y = batch
    return jax.vmap(lambda x, y: loss_of_outputs(outputs(params, x), y))(x, y)


def recipe(name, **changes):
    return run(name, start(), example_losses, changes)


def follow(scope, steps=8):
    """The flat weights after each step of the recipe."""
    params, state, data = scope["params"], scope["state"], minibatches()
    step, weights = jax.jit(scope["step"]), []
    for t in range(steps):
        params, state = step(params, state, jax.tree.map(lambda a: a[t % len(a)], data))
        weights.append(flatten(params))
    return np.array(weights)


def assert_recorded(weights, name, key="weights"):
    np.testing.assert_allclose(weights, np.array(NEWER_CASES[name][key]), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("stale_sam", SGD),
        (
            "stale_sam_wd",
            {
                "rho=0.05": "rho=0.15",
                "optax.sgd(0.1)": "optax.chain(optax.add_decayed_weights(0.01), "
                "optax.sgd(0.2, momentum=0.9))",
            },
        ),
    ],
)
def test_the_ascent_along_the_last_gradient_is_stale_sam(name, changes):
    weights = follow(recipe("ascent along the last gradient", **changes))
    assert_recorded(weights, name, "clean")


def test_the_ascent_along_the_last_plain_gradient_is_async_sam():
    changes = SGD | {"kept = grads": "kept = grad_fn(params, 0)"}
    assert_recorded(follow(recipe("ascent along the last gradient", **changes)), "async_sam")


ADAM = {
    "rho=0.05": "rho=0.3",
    "optax.adam(1e-2, b2=0.999, eps=1e-8)": "optax.adam(0.05, b2=0.99, eps=1e-8)",
    "0.999": "0.99",
}


def test_the_ascent_along_adams_direction_is_the_recorded_one():
    weights = follow(recipe("ascent along Adam's direction", **ADAM))
    assert_recorded(weights, "adam_preconditioned_sam")


def test_the_ascent_along_adams_direction_takes_the_functional_gradient():
    scope = recipe("ascent along Adam's direction", **ADAM)
    method = optax.GradientTransformationExtraArgs(lambda params: scope["state"], None)

    def update(grads, state, params, *, grad_fn):
        scope["value_and_grad"] = lambda loss_fn: lambda *args: (None, grads, grad_fn)
        moved, state = scope["step"](params, state, None)
        return optax.tree.sub(moved, params), state

    method = method._replace(update=update)
    weights, _ = train(method, make_functional_step(method))
    assert_recorded(weights, "adam_preconditioned_functional_sam")


def test_unified_sam_is_the_recorded_one():
    changes = SGD | {"mix=0.5": "mix=0.5"}
    assert_recorded(train(recipe("unified SAM", **changes)["tx"])[0], "unified_sam")


def test_unified_sam_takes_a_schedule_under_inject_hyperparams():
    scope = recipe("unified SAM")
    mix = lambda step: 1 - 1 / (step + 1.0)
    rule = optax.inject_hyperparams(scope["unified_perturbation"])(rho=0.3, mix=mix)
    tx = optax.chain(scope["multistep"](rule), sgd())
    assert_recorded(train(tx)[0], "unified_sam_rising")


def test_the_search_of_xsam_is_the_recorded_one():
    changes = SGD | {"rho=0.05": "rho=0.15", "rho_max=0.1": "rho_max=0.3"}
    scope = recipe("XSAM's search", **changes)
    params, state, data = scope["params"], scope["tx"].init(scope["params"]), minibatches()
    step, weights, alphas = jax.jit(make_step(scope["tx"])), [], []
    for t in range(8):
        batch = jax.tree.map(lambda a: a[t % 4], data)
        if t % 4 == 0:
            state = scope["before_an_epoch"](params, state, batch)
            alphas.append(state[0].hyperparams["alpha"])
        params, state = step(params, state, batch)
        weights.append(flatten(params))
    assert_recorded(np.array(weights), "xsam_search")
    np.testing.assert_allclose(jnp.unique(jnp.array(alphas)), [1.9, 2.0], rtol=1e-12)
