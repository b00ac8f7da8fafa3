"""Weights of the neural-network libraries that are used with Optax."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from tests.support.problems import batches, optimizers

METHODS = ["sam", "asam", "lookbehind_sam_adaptive", "lookbehind_asam", "lookbehind_adam"]


@pytest.fixture(params=METHODS)
def tx(request):
    return optimizers()[request.param]


@pytest.fixture(scope="module")
def data():
    return jax.tree.map(lambda x: x[0], batches(number=1, size=32))


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def losses(tx, params, loss_fn, steps=15):
    """Losses along training; the weights keep their tree."""

    @jax.jit
    def step(params, state):
        grad_fn = lambda p, i: jax.grad(loss_fn)(p)
        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state, loss

    state, result, structure = tx.init(params), [], jax.tree.structure(params)
    for _ in range(steps):
        params, state, loss = step(params, state)
        result.append(float(loss))
    assert jax.tree.structure(params) == structure
    return result


def assert_learns(result):
    assert np.isfinite(result).all()
    assert result[-1] < 0.95 * result[0]


def test_flax_linen(tx, data):
    model = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(3)])
    params = model.init(jax.random.key(0), data[0])
    assert_learns(losses(tx, params, lambda p: cross_entropy(model.apply(p, data[0]), data[1])))


def test_flax_nnx_state(tx, data):
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.hidden, self.out = nnx.Linear(4, 16, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)

        def __call__(self, x):
            return self.out(nnx.relu(self.hidden(x)))

    graphdef, params = nnx.split(Network(nnx.Rngs(0)), nnx.Param)
    loss_fn = lambda p: cross_entropy(nnx.merge(graphdef, p)(data[0]), data[1])
    assert_learns(losses(tx, params, loss_fn))


def test_equinox_with_none_leaves(tx, data):
    model = eqx.nn.MLP(4, 3, 16, 1, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_array)
    assert None in jax.tree.leaves(params, is_leaf=lambda x: x is None)
    loss_fn = lambda p: cross_entropy(jax.vmap(eqx.combine(p, static))(data[0]), data[1])
    assert_learns(losses(tx, params, loss_fn))


def test_equinox_filter_grad(data):
    model = eqx.nn.MLP(4, 3, 16, 1, key=jax.random.key(0))
    tx = optimizers()["lookbehind_sam"]
    params = eqx.filter(model, eqx.is_array)

    @eqx.filter_grad
    def grad(model):
        return cross_entropy(jax.vmap(model)(data[0]), data[1])

    def grad_fn(params, i):
        return grad(eqx.combine(params, model))

    updates, _ = tx.update(grad(model), tx.init(params), params, grad_fn=grad_fn)
    moved = eqx.apply_updates(model, updates)
    assert not np.array_equal(moved.layers[0].weight, model.layers[0].weight)


def test_haiku_style_nested_dicts(tx, data):
    keys = jax.random.split(jax.random.key(0), 2)
    params = {
        "mlp/~/linear_0": {"w": jax.random.normal(keys[0], (4, 16)) / 2, "b": jnp.zeros(16)},
        "mlp/~/linear_1": {"w": jax.random.normal(keys[1], (16, 3)) / 4, "b": jnp.zeros(3)},
    }

    def loss_fn(p):
        first, second = p["mlp/~/linear_0"], p["mlp/~/linear_1"]
        hidden = jax.nn.relu(data[0] @ first["w"] + first["b"])
        return cross_entropy(hidden @ second["w"] + second["b"], data[1])

    assert_learns(losses(tx, params, loss_fn))
