"""The blocks of the recipes' page, run as they stand there."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import batches, classification_loss, make_step, network

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "recipes-without-code.md"
PREAMBLE, *BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
RECIPES = {re.match("# recipe: (.*)\n", block)[1]: block for block in BLOCKS}


def example_losses(params, batch):
    return jax.vmap(lambda *example: classification_loss(params, example))(*batch)


@pytest.fixture
def data():
    return jax.tree.map(lambda x: x[0], batches(number=1, size=32))


def run(name, params):
    """The names that a recipe defines."""
    scope = {"example_losses": example_losses, "params": params, "first_tail_class": 2}
    exec(PREAMBLE, scope)
    exec(compile(RECIPES[name], f"{PAGE.name}, {name}", "exec"), scope)
    return scope


def step_of(scope):
    """The step that the recipe defines, or the usual one with its transformation."""
    if "step" in scope:
        return scope["step"], scope["state"]
    step = make_step(scope["tx"], classification_loss)
    return lambda *args: step(*args)[:2], scope["tx"].init(scope["params"])


def assert_close(first, second):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), first, second)


def descend(params, grads):
    return jax.tree.map(lambda w, g: w - 0.1 * g, params, grads)


def perturbed(params, direction, rho=0.05):
    return optax.tree.add_scale(params, rho / optax.tree.norm(direction), direction)


grad = jax.grad(classification_loss)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains(name, data):
    scope = run(name, network()[0])
    step, state = step_of(scope)
    params, step = scope["params"], jax.jit(step)
    before = classification_loss(params, data)
    for _ in range(20):
        params, state = step(params, state, data)
    assert classification_loss(params, data) < 0.9 * before


def after_one_step(name, data):
    """The weights before and after a step of the recipe."""
    scope = run(name, network()[0])
    step, state = step_of(scope)
    return scope["params"], step(scope["params"], state, data)[0]


def test_centralization_is_of_both_gradients(data):
    params, result = after_one_step("centralization", data)

    def centralized(g):
        matrices = {name: layer["w"] - layer["w"].mean(0) for name, layer in g.items()}
        return {name: {"w": matrices[name], "b": g[name]["b"]} for name in g}

    p = perturbed(params, centralized(grad(params, data)))
    assert_close(result, descend(params, centralized(grad(p, data))))


def test_a_sparse_perturbation_has_the_norm_of_the_whole_gradient(data):
    params, result = after_one_step("sparse mask", data)
    e = optax.tree.sub(perturbed(params, grad(params, data)), params)
    e = jax.tree.map(lambda e, w: jnp.where(abs(w) > 0.1, e, 0), e, params)
    assert_close(result, descend(params, grad(optax.tree.add(params, e), data)))


def test_only_the_rare_classes_are_perturbed(data):
    params, result = after_one_step("rare classes", data)
    tail = data[1] == 2
    part = lambda params, chosen: (chosen * example_losses(params, data)).mean()
    g_s = jax.grad(part)(perturbed(params, jax.grad(part)(params, tail)), tail)
    grads = optax.tree.add(g_s, jax.grad(part)(params, ~tail))
    assert_close(result, descend(params, grads))


def test_the_hardest_examples_give_both_gradients(data):
    params, result = after_one_step("hardest examples", data)
    rows = np.argsort(example_losses(params, data))[-8:]
    hardest = jax.tree.map(lambda x: x[rows], data)
    p = perturbed(params, grad(params, hardest))
    assert_close(result, descend(params, grad(p, hardest)))


def test_the_momentum_gives_the_ascent(data):
    scope = run("ascent along the momentum", network()[0])
    params, state = scope["params"], scope["state"]
    first, state = scope["step"](params, state, data)
    momentum = grad(params, data)
    assert_close(first, descend(params, momentum))  # without momentum a plain step
    second, _ = scope["step"](first, state, data)
    g_s = grad(perturbed(first, momentum), data)
    assert_close(second, descend(first, optax.tree.add_scale(g_s, 0.9, momentum)))


def test_a_quarter_of_the_batch_gives_the_ascent(data):
    params, result = after_one_step("ascent on a quarter", data)
    direction = grad(params, jax.tree.map(lambda x: x[::4], data))
    assert_close(result, descend(params, grad(perturbed(params, direction), data)))


def test_random_switching_mixes_on_some_steps_and_is_plain_on_others(data):
    scope = run("random switching", network()[0])
    step, state = step_of(scope)
    step = jax.jit(step)
    params, seen = scope["params"], set()
    for _ in range(14):  # the key draws twelve times yes first
        applied = int(optax.tree.get(state, "applied"))
        new_params, state = step(params, state, data)
        used = int(optax.tree.get(state, "applied")) > applied
        g, g_s = grad(params, data), grad(perturbed(params, grad(params, data)), data)
        mixed = jax.tree.map(lambda a, b: 0.2 * a + 0.8 * b, g, g_s)
        assert_close(new_params, descend(params, mixed if used else g))
        params = new_params
        seen.add(used)
    assert seen == {True, False}


def clipped_in_front(method):
    return optax.chain(optax.clip_by_global_norm(1e-3), method, optax.sgd(0.1))


def one_update(tx, params, data):
    grad_fn = lambda p, i: grad(p, data)
    return tx.update(grad_fn(params, 0), tx.init(params), params, grad_fn=grad_fn)[0]


def test_a_clip_behind_bounds_the_update_and_one_in_front_of_sam_changes_nothing(data):
    params = network()[0]
    behind = optax.chain(ol.sam(0.05), optax.clip_by_global_norm(1e-3), optax.sgd(0.1))
    np.testing.assert_allclose(
        optax.tree.norm(one_update(behind, params, data)), 0.1 * 1e-3, rtol=1e-4
    )
    plain = optax.chain(ol.sam(0.05), optax.sgd(0.1))
    assert_close(
        one_update(clipped_in_front(ol.sam(0.05)), params, data), one_update(plain, params, data)
    )


@pytest.mark.parametrize("make", [ol.usam, ol.gsam, ol.gnp, ol.wsam, ol.stable_sam])
def test_a_clip_in_front_changes_methods_that_use_the_plain_gradients_length(make, data):
    params = network()[0]
    plain = one_update(optax.chain(make(0.05), optax.sgd(0.1)), params, data)
    front = one_update(clipped_in_front(make(0.05)), params, data)
    assert optax.tree.norm(optax.tree.sub(plain, front)) > 0.001 * optax.tree.norm(plain)
