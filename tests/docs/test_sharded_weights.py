"""The blocks of the guide, run as they stand there on eight virtual devices, against references."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import batches, classification_loss, network

pytestmark = pytest.mark.usefixtures("float64")
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "sharded-weights.md"
PREAMBLE, *BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
RECIPES = {re.match("# recipe: (.*)\n", block)[1]: block for block in BLOCKS}
STEPS = 2

grad = jax.grad(classification_loss)


@pytest.fixture
def batch():
    return jax.tree.map(lambda x: x[0], batches(number=1, size=32, dtype=jnp.float64))


def run(name, batch):
    """The names that a recipe defines."""
    params, loss_fn = network(dtype=jnp.float64)
    scope = {"params": params, "loss_fn": loss_fn, "batch": batch}
    exec(PREAMBLE, scope)
    exec(compile(RECIPES[name], f"{PAGE.name}, {name}", "exec"), scope)
    return scope


def train(scope):
    """Weights and state after a few steps of a recipe."""
    params, state = scope["params"], scope["state"]
    step = jax.jit(scope["step"])
    for _ in range(STEPS):
        params, state = step(params, state, scope["batch"])
    return params, state


def reference(batch, gradient, tx):
    """Weights after a few steps of an optimizer with the gradients of ``(params, batch)``."""
    params, _ = network(dtype=jnp.float64)
    state = tx.init(params)
    for _ in range(STEPS):
        updates, state = tx.update(gradient(params, batch), state, params)
        params = optax.apply_updates(params, updates)
    return params


def sam_gradient(params, batch, rho=0.05):
    g = grad(params, batch)
    return grad(optax.tree.add_scale(params, rho / optax.tree.norm(g), g), batch)


def parts_of(batch):
    """The two halves of a batch."""
    return [jax.tree.map(lambda x, i=i: x[16 * i : 16 * i + 16], batch) for i in range(2)]


def assert_equal(first, second):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-14), first, second)


def test_fsdp_equals_one_device_and_shards_weights_and_states(batch):
    scope = run("FSDP", batch)
    params, state = train(scope)
    assert_equal(params, reference(batch, sam_gradient, optax.adam(1e-2)))
    for tree in (params, optax.tree.get(state, "mu"), optax.tree.get(state, "nu")):
        assert tree["hidden"]["w"].sharding.shard_shape((4, 8)) == (4, 1)
        assert tree["out"]["w"].sharding.shard_shape((8, 3)) == (1, 3)
        assert tree["out"]["b"].sharding.is_fully_replicated


def test_slices_perturb_on_their_own_part_of_the_batch(batch):
    def mean_of_slices(params, batch):
        first, second = (sam_gradient(params, part) for part in parts_of(batch))
        return jax.tree.map(lambda a, b: (a + b) / 2, first, second)

    scope = run("slices", batch)
    params, _ = train(scope)
    assert_equal(params, reference(batch, mean_of_slices, optax.sgd(0.1)))
    assert params["hidden"]["w"].sharding.shard_shape((4, 8)) == (1, 8)


def test_microbatches_equal_the_whole_batch(batch):
    params, _ = train(run("microbatches", batch))
    assert_equal(params, reference(batch, sam_gradient, optax.sgd(0.1)))


def test_multi_steps_around_a_method_trains_something_else(batch):
    tx = optax.MultiSteps(optax.chain(ol.sam(0.05), optax.sgd(0.1)), 2).gradient_transformation()
    params, _ = network(dtype=jnp.float64)
    state, trained = tx.init(params), params
    for part in parts_of(batch):
        grad_fn = lambda params, i, part=part: grad(params, part)
        updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
        trained = optax.apply_updates(trained, updates)
    expected = optax.tree.add_scale(params, -0.1, sam_gradient(params, batch))
    assert optax.tree.norm(optax.tree.sub(trained, expected)) > 1e-4
