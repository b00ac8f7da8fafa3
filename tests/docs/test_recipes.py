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


def run(name, params, losses=example_losses, changes=()):
    """The names that a recipe defines, with changes of its hyperparameters."""
    scope = {"example_losses": losses, "params": params, "first_tail_class": 2}
    block = RECIPES[name]
    for before, after in dict(changes).items():
        assert before in block
        block = block.replace(before, after)
    exec(PREAMBLE, scope)
    exec(compile(block, f"{PAGE.name}, {name}", "exec"), scope)
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
    before = loss_without_adversary(scope, params, data)
    for _ in range(20):
        params, state = step(params, state, data)
    assert loss_without_adversary(scope, params, data) < 0.9 * before


def loss_without_adversary(scope, params, data):
    """The loss of the weights, of adapters that of the merged ones."""
    if "merged" in scope:
        params = scope["merged"](params.get("main", params))
    return classification_loss(params, data)


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


def test_the_radius_falls_with_the_learning_rate(data):
    scope = run("rho follows the learning rate", network()[0])
    assert scope["rho"](0) == pytest.approx(0.05)
    assert scope["rho"](500) == pytest.approx(0.03)
    assert scope["rho"](1000) == pytest.approx(0.01)
    expected = optax.chain(ol.gsam(0.05), optax.sgd(0.1))
    args = scope["params"], data
    assert_close(one_update(scope["tx"], *args), one_update(expected, *args))


def test_a_random_direction_has_the_length_rho(data):
    scope = run("random direction", network()[0])
    result, (key, *_) = scope["step"](scope["params"], scope["state"], data)
    draw = jax.random.split(jax.random.key(0))[1]
    noise = optax.tree.random_like(draw, scope["params"], jax.random.normal)
    g_s = grad(perturbed(scope["params"], noise), data)
    assert_close(result, descend(scope["params"], g_s))
    assert key != jax.random.key(0)


def test_the_ascent_along_muon_is_orthogonal_in_matrices_and_zero_elsewhere(data):
    scope = run("ascent along Muon's direction", network()[0])
    params = scope["params"]
    rule = ol.masked_perturbation(scope["muon"], scope["matrices"])
    g = grad(params, data)
    e, _ = rule.update(g, rule.init(params), params)
    np.testing.assert_allclose(optax.tree.norm(e), 0.05, rtol=1e-4)
    for layer in ("hidden", "out"):
        assert not e[layer]["b"].any()
        u, s, v = np.linalg.svd(g[layer]["w"], full_matrices=False)
        u = u * (s > 1e-5 * s[0])  # the logits' gradients sum to zero
        cosine = np.sum(e[layer]["w"] * (u @ v)) / np.linalg.norm(e[layer]["w"])
        assert cosine / np.linalg.norm(u @ v) > 0.95


def test_flat_lora_follows_the_gradient_at_noisy_merged_weights(data):
    scope = run("Flat-LoRA", network()[0])
    base, params, (_, optimizer_state) = scope["base"], scope["params"], scope["state"]
    params = params | {"b": jax.random.normal(jax.random.key(5), params["b"].shape)}
    result, _ = scope["step"](params, (jnp.int32(40), optimizer_state), data)
    w = base["hidden"]["w"] + params["a"] @ params["b"]
    draw = jax.random.normal(jax.random.fold_in(jax.random.key(1), 40), w.shape)
    std = 0.05 * (1 - np.cos(0.4 * np.pi)) / 2 * np.sqrt(np.mean(np.square(w), axis=0))
    g = grad(base | {"hidden": base["hidden"] | {"w": w + std * draw}}, data)["hidden"]["w"]
    expected = {
        "a": params["a"] - 0.5 * g @ params["b"].T,
        "b": params["b"] - 0.5 * params["a"].T @ g,
    }
    assert_close(result, expected)


def test_the_adversary_of_bi_lora_ascends_within_its_ball(data):
    scope = run("Bi-LoRA", network()[0])
    first, state = scope["step"](scope["params"], scope["state"], data)
    params, base = scope["params"], scope["base"]
    g = grad(base, data)["hidden"]["w"]  # b is zero: a does not move
    assert_close(first["main"]["b"], -0.5 * params["main"]["a"].T @ g)
    a, b = params["adversary"]["a"], 0.1 * params["adversary"]["a"].T @ g
    factor = min(1, np.sqrt(0.05 / np.linalg.norm(a @ b)))
    assert_close(first["adversary"], {"a": factor * a, "b": factor * b})
    params = first
    for _ in range(20):
        params, state = scope["step"](params, state, data)
    length = np.linalg.norm(params["adversary"]["a"] @ params["adversary"]["b"])
    np.testing.assert_allclose(length, 0.05, rtol=1e-4)
