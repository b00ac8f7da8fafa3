"""The replacements of other implementations in the guide lead to the same weights."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optax_lookbehind import sam, value_and_grad
from tests.support.problems import batches, classification_loss, network

pytestmark = pytest.mark.usefixtures("float64")
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "coming-from.md"
BLOCKS = {
    re.match("# (.*)\n", block)[1]: block
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
}


@pytest.fixture
def scope():
    batch = jax.tree.map(lambda x: x[0], batches(number=1, dtype=jnp.float64))
    names = {"sam": sam, "value_and_grad": value_and_grad}
    return {"jax": jax, "optax": optax, "loss_fn": classification_loss, "batch": batch} | names


def grad(w, batch):
    return jax.grad(classification_loss)(w, batch)


def assert_equal(first, second):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), first, second)


def test_the_change_from_optax_leaves_the_weights_as_they_are(scope):
    results = []
    for when in ("before", "after"):
        exec(BLOCKS[f"{when}: optax.contrib.sam"], scope)
        tx, grad_fn, params = scope["tx"], scope["grad_fn"], network(dtype=jnp.float64)[0]
        state = tx.init(params)
        for _ in range(3):
            updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
            params = optax.apply_updates(params, updates)
        results.append(params)
    assert_equal(*results)


def test_the_change_from_pytorch_takes_the_steps_of_two_backward_passes(scope):
    exec(BLOCKS["after: PyTorch's SAM"], scope)
    w = params = network(dtype=jnp.float64)[0]
    state, momentum = scope["tx"].init(params), optax.tree.zeros_like(w)
    for _ in range(3):
        params, state = scope["step"](params, state, scope["batch"])
        # first_step: w + e; second_step: torch.optim.SGD with weight decay at w.
        g = grad(w, scope["batch"])
        length = optax.tree.norm(g)
        p = jax.tree.map(lambda w, g: w + 0.05 * g / length, w, g)
        g = jax.tree.map(lambda g, w: g + 5e-4 * w, grad(p, scope["batch"]), w)
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, g)
        w = jax.tree.map(lambda w, m: w - 0.1 * m, w, momentum)
    assert_equal(params, w)
