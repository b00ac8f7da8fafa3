"""The program of the guide to inner steps, run as it stands, against Lookbehind written out."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.support.problems import batches, classification_loss, network

pytestmark = pytest.mark.usefixtures("float64")
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "inner-steps.md"
ONE, SEVERAL, DROPOUT, CHECK = re.findall(
    r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S
)


def data():
    """Three minibatches."""
    return batches(number=3, size=16, dtype=jnp.float64)


def dropout_loss(params, batch, key):
    x, y = batch
    kept = jax.random.bernoulli(key, 0.5, x.shape)
    return classification_loss(params, (x * kept, y))


@pytest.fixture
def scope():
    names = {"loss_fn": classification_loss, "dropout_loss_fn": dropout_loss, "batches": data()}
    exec(ONE, names)
    return names | {"params": network(dtype=jnp.float64)[0]}


def grad(w, batch):
    return jax.grad(classification_loss)(w, batch)


def ascend(w, g, rho=0.05):
    length = optax.tree.norm(g)
    return jax.tree.map(lambda w, g: w + rho * g / length, w, g)


def lookbehind(w, minibatches, switch):
    """The sum of the gradients along the ascent, with each ascent on its own minibatch or not."""
    p, g, gradients = w, grad(w, minibatches[0]), []
    for batch in minibatches:
        p = ascend(p, grad(p, batch) if switch else g)
        g = grad(p, batch)
        gradients.append(g)
    return jax.tree.map(lambda *parts: sum(parts), *gradients)


def adaptive(total, first):
    """Equations 7 and 8 for the directions of the first step and of the sum."""
    length = optax.tree.norm(total) * optax.tree.norm(first)
    return (optax.tree.vdot(total, first) / length + 1) / 2


@pytest.mark.parametrize("switch", [False, True])
def test_the_step_is_lookbehinds_on_one_or_several_minibatches(scope, switch):
    if switch:
        exec(SEVERAL, scope)
    stacked = data()
    minibatches = [jax.tree.map(lambda x, j=j: x[j if switch else 0], stacked) for j in range(3)]
    start = scope["params"]
    stepped, _ = scope["step"](
        start, scope["tx"].init(start), stacked if switch else minibatches[0]
    )
    total = lookbehind(start, minibatches, switch)
    alpha = adaptive(total, lookbehind(start, minibatches[:1], switch))
    expected = jax.tree.map(lambda w, g: w - 0.1 / 3 * alpha * g, start, total)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), stepped, expected)


def test_all_passes_of_a_step_drop_the_same_units(scope):
    exec(DROPOUT, scope)
    start, key = scope["params"], jax.random.key(1)
    batch = jax.tree.map(lambda x: x[0], data())
    stepped, _ = scope["step"](start, scope["tx"].init(start), batch, key)
    g = jax.grad(dropout_loss)(start, batch, key)
    g = jax.grad(dropout_loss)(ascend(start, g), batch, key)
    expected = jax.tree.map(lambda w, g: w - 0.1 * g, start, g)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), stepped, expected)


def test_the_check_finds_nothing_in_a_right_setup(scope, capsys):
    exec(CHECK, scope)
    assert capsys.readouterr().out == ""
