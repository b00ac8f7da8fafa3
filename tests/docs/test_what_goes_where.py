"""The blocks of the guide, run as they stand there, against the formulas written out."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training.dynamic_scale import DynamicScale

import optax_lookbehind as ol
from tests.support.problems import batches, classification_loss, network

pytestmark = pytest.mark.usefixtures("float64")
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "what-goes-where.md"
CHECK, PREAMBLE, CALL, *BLOCKS = re.findall(
    r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S
)
RECIPES = {re.match("# recipe: (.*)\n", block)[1]: block for block in BLOCKS}
ALL = {"hidden": 1.0, "out": 1.0}
STEPS = 3


@pytest.fixture
def batch():
    return jax.tree.map(lambda x: x[0], batches(number=1, size=32, dtype=jnp.float64))


def own_grad_fn(name):
    return "def grad_fn" in RECIPES[name]


def call(name):
    """The three lines of a step, with the recipe's own ``grad_fn`` if it has one."""
    _, *rest = CALL.splitlines()
    return "\n".join(["value, grads = grad_fn(params, 0)", *rest]) if own_grad_fn(name) else CALL


def prepare(name, batch, **changes):
    """The names that a recipe defines, and the state before its first step."""
    params, _ = network(dtype=jnp.float64)
    scope = {"params": params, "loss_fn": classification_loss, "batch": batch} | changes
    exec(PREAMBLE, scope)
    exec(compile(RECIPES[name], f"{PAGE.name}, {name}", "exec"), scope)
    scope["state"] = scope["tx"].init(scope["params"])
    if not own_grad_fn(name):
        _, _, scope["grad_fn"] = ol.value_and_grad(scope["loss"])(scope["params"])
    return scope


def train(name, batch):
    scope = prepare(name, batch)
    for _ in range(STEPS):
        exec(call(name), scope)
    return scope["params"]


def grad(w, batch):
    return jax.grad(classification_loss)(w, batch)


def norm(tree):
    return np.sqrt(sum(float(jnp.sum(x**2)) for x in jax.tree.leaves(tree)))


def scaled(factors, tree):
    """``tree`` with each layer multiplied by its factor."""
    return {layer: jax.tree.map(lambda x: factors[layer] * x, tree[layer]) for layer in tree}


def sam_gradient(w, batch, rho=0.05, perturbed=ALL):
    g = scaled(perturbed, grad(w, batch))
    length = norm(g)
    return grad(jax.tree.map(lambda w, g: w + rho * g / length, w, g), batch)


def reference(batch, gradient=sam_gradient, change=lambda g, w: g):
    """Weights after ``w <- w - 0.1 change(gradient(w), w)``."""
    w, _ = network(dtype=jnp.float64)
    for _ in range(STEPS):
        g = change(gradient(w, batch), w)
        w = jax.tree.map(lambda w, g: w - 0.1 * g, w, g)
    return w


def clipped(g, limit=1e-2):
    return jax.tree.map(lambda x: x * min(1, limit / norm(g)), g)


def assert_equal(first, second):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), first, second)


@pytest.mark.parametrize("name", ["accumulation", "loss scaling"])
def test_the_gradient_function_changes_nothing(name, batch):
    assert_equal(train(name, batch), reference(batch))
    scope = prepare(name, batch)
    value, grads = scope["grad_fn"](scope["params"], 0)
    np.testing.assert_allclose(value, scope["loss"](scope["params"]), rtol=1e-12)
    assert ol.check_grad_fn(scope["grad_fn"], scope["params"], grads) == []


def test_the_clip_is_of_the_perturbed_gradient(batch):
    assert_equal(train("clipping", batch), reference(batch, change=lambda g, w: clipped(g)))


def test_clipped_steps_of_lookbehind_are_as_long_as_sams(batch):
    scope = prepare("clipping Lookbehind", batch)
    before = scope["params"]
    exec(CALL, scope)
    step = jax.tree.map(jnp.subtract, scope["params"], before)
    np.testing.assert_allclose(norm(step), 0.1 * 1e-2, rtol=1e-11)


def test_a_clip_inside_limits_each_inner_step(batch):
    w, _ = network(dtype=jnp.float64)
    for _ in range(STEPS):
        p, f, g = w, w, grad(w, batch)
        for _ in range(3):
            length = norm(g)
            p = jax.tree.map(lambda p, g: p + 0.05 * g / length, p, g)
            g = grad(p, batch)
            f = jax.tree.map(lambda f, c: f - 0.1 * c, f, clipped(g))
        w = jax.tree.map(lambda w, f: w + 0.5 * (f - w), w, f)
    assert_equal(train("clipping inside", batch), w)


def test_the_nan_guard_skips_a_step_whose_perturbed_gradient_is_not_finite(batch):
    assert_equal(train("NaN guard", batch), reference(batch))
    scope = prepare("NaN guard", batch)
    start, plain = scope["params"], scope["grad_fn"](scope["params"], 0).grads
    scope["grad_fn"] = lambda p, i: jax.tree.map(lambda g: g * jnp.nan, plain)
    exec(CALL.split("\n", 1)[1], scope | {"grads": plain})
    assert_equal(scope["params"], start)
    # Around the whole chain the guard sees a finite gradient and lets the NaN pass.
    around = optax.apply_if_finite(optax.chain(ol.sam(0.05), optax.sgd(0.1)), 5)
    updates, _ = around.update(plain, around.init(start), start, grad_fn=scope["grad_fn"])
    assert np.isnan(norm(updates))


def test_decay_behind_the_method_is_of_the_weights_themselves(batch):
    decayed = lambda g, w: jax.tree.map(lambda g, w: g + 0.1 * w, g, w)
    assert_equal(train("weight decay", batch), reference(batch, change=decayed))


def test_frozen_weights_are_neither_trained_nor_perturbed(batch):
    only_out = {"hidden": 0.0, "out": 1.0}
    expected = reference(
        batch,
        lambda w, batch: sam_gradient(w, batch, perturbed=only_out),
        lambda g, w: scaled(only_out, g),
    )
    assert_equal(train("freezing in one tree", batch), expected)
    assert_equal(train("freezing with selective_transform", batch), expected)
    assert_equal(train("freezing", batch), expected["out"])


def test_only_the_adapters_are_trained_and_perturbed(batch):
    base, _ = network(dtype=jnp.float64)
    a = jax.random.normal(jax.random.key(0), (4, 2), jnp.float64)
    b = jnp.zeros((2, 8), jnp.float64)

    def gradient(a, b):
        """By the chain rule: the gradient at w + a b, times b' and a'."""
        hidden = base["hidden"] | {"w": base["hidden"]["w"] + a @ b}
        g = grad(base | {"hidden": hidden}, batch)["hidden"]["w"]
        return g @ b.T, a.T @ g

    for _ in range(STEPS):
        g_a, g_b = gradient(a, b)
        length = norm((g_a, g_b))
        g_a, g_b = gradient(a + 0.05 * g_a / length, b + 0.05 * g_b / length)
        a, b = a - 0.1 * g_a, b - 0.1 * g_b
    assert_equal(train("LoRA", batch), {"a": a, "b": b})


def test_a_perturbed_pass_that_overflows_keeps_the_weights_and_lowers_the_scale():
    def loss_fn(w, batch):  # float16 holds numbers up to 65504
        return jnp.square(w.astype(jnp.float16)).astype(jnp.float32)

    w = jnp.float32(1.0)
    scope = prepare("dynamic loss scaling", None, loss_fn=loss_fn, params=w)
    scope["tx"] = optax.chain(ol.sam(0.5), optax.sgd(0.125, momentum=0.9))
    state = scope["tx"].init(w)
    scale = DynamicScale(scale=jnp.float32(2.0**14.5), fin_steps=jnp.int32(5))
    # The gradients 2 w and 2 (w + rho), scaled: 46341 at the weights, 69511 at the perturbed ones.
    w, kept, lowered, loss = scope["step"](w, state, scale, None)
    assert (w, loss) == (1, 1)
    assert (lowered.scale, lowered.fin_steps) == (scale.scale / 2, 0)
    assert_equal(kept, state)
    w, _, kept, _ = scope["step"](w, kept, lowered, None)
    np.testing.assert_allclose(w, 1 - 0.125 * 2 * 1.5, rtol=1e-3)
    assert (kept.scale, kept.fin_steps) == (lowered.scale, 1)
    # Guarded by the first pass alone, the step is not finite.
    scaled = scale.value_and_grad(loss_fn)
    grad_fn = lambda w, i: scaled(w, None).grad
    _, is_finite, _, grads = scaled(jnp.float32(1.0), None)
    updates, _ = scope["tx"].update(grads, state, jnp.float32(1.0), grad_fn=grad_fn)
    assert is_finite
    assert not np.isfinite(updates)


@pytest.mark.parametrize(
    "method", [lambda: ol.sam(0.05), lambda: ol.lookbehind_sam(3, 0.05, 0.5)], ids=["sam", "k = 3"]
)
def test_float16_trains_from_a_scale_that_is_far_too_high(method, batch):
    def loss_fn(params, batch):
        x, y = batch
        half = jax.tree.map(lambda w: w.astype(jnp.float16), params)
        return classification_loss(half, (x.astype(jnp.float16), y)).astype(jnp.float32)

    params = network()[0]
    scope = prepare("dynamic loss scaling", batch, loss_fn=loss_fn, params=params)
    scope["tx"] = optax.chain(method(), optax.sgd(0.1, momentum=0.9))
    state, scale = scope["tx"].init(params), DynamicScale(scale=jnp.float32(2.0**30))
    step, losses = jax.jit(scope["step"]), []
    for _ in range(50):
        params, state, scale, loss = step(params, state, scale, batch)
        losses.append(float(loss))
    assert np.isfinite(norm(params))
    assert scale.scale < 2.0**30
    assert losses[-1] < 0.7 * losses[0]


def test_one_layer_is_perturbed_and_both_are_trained(batch):
    hidden = {"hidden": 1.0, "out": 0.0}
    expected = reference(batch, lambda w, batch: sam_gradient(w, batch, perturbed=hidden))
    assert_equal(train("one layer", batch), expected)


def test_each_layer_has_its_own_radius(batch):
    def gradient(w, batch):
        g = grad(w, batch)
        lengths = {"hidden": 0.05 / norm(g["hidden"]), "out": 0.01 / norm(g["out"])}
        return grad(jax.tree.map(jnp.add, w, scaled(lengths, g)), batch)

    assert_equal(train("rho per layer", batch), reference(batch, gradient))


def test_noise_behind_the_method_is_added_once_per_step(batch):
    noise = optax.add_noise(eta=0.01, gamma=0.55, key=0)
    state = noise.init(network(dtype=jnp.float64)[0])

    def noisy(g, w):
        nonlocal state
        g, state = noise.update(g, state, w)
        return g

    assert_equal(train("gradient noise", batch), reference(batch, change=noisy))


def test_the_average_is_of_the_weights_after_the_update(batch):
    scope = prepare("EMA", batch)
    expected = scope["average"]
    for _ in range(STEPS):
        exec(CALL, scope)
        scope["average"] = scope["after_update"](scope["params"], scope["average"])
        expected = jax.tree.map(lambda a, w: 0.9 * a + 0.1 * w, expected, scope["params"])
    assert_equal(scope["average"], expected)
    assert_equal(scope["params"], reference(batch))


def test_swa_is_the_mean_of_the_weights(batch):
    scope = prepare("SWA", batch)
    seen = [scope["params"]]
    for _ in range(STEPS):
        exec(CALL, scope)
        scope["average"], scope["averaged"] = scope["after_update"](
            scope["params"], scope["average"], scope["averaged"]
        )
        seen.append(scope["params"])
    assert_equal(scope["average"], jax.tree.map(lambda *w: sum(w) / len(w), *seen))


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("Muon", optax.contrib.muon(0.02)),
        ("schedule-free", optax.contrib.schedule_free(optax.sgd(0.1), 0.1, b1=0.9)),
    ],
)
def test_other_optimizers_get_the_gradient_at_the_perturbed_weights(name, optimizer, batch):
    scope = prepare(name, batch)
    w = scope["params"]
    state, update = optimizer.init(w), jax.jit(optimizer.update)
    for _ in range(STEPS):
        exec(CALL, scope)
        updates, state = update(sam_gradient(w, batch), state, w)
        w = optax.apply_updates(w, updates)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), scope["params"], w
    )
    if name == "schedule-free":
        # The average x, from the trained y = b1 x + (1 - b1) z.
        x = jax.tree.map(lambda y, z: (y - 0.1 * z) / 0.9, w, state.z)
        evaluated = scope["weights_to_evaluate"](scope["params"], scope["state"])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), evaluated, x)


def test_the_check_prints_nothing_for_a_right_setup(batch, capsys):
    scope = prepare("clipping", batch)
    exec(CHECK, scope | {"grads": scope["grad_fn"](scope["params"], 0).grads})
    assert capsys.readouterr().out == ""
