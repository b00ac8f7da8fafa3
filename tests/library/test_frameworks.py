"""Weights of the neural-network libraries that are used with Optax."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optax_lookbehind as ol
from tests.support.methods import METHODS
from tests.support.problems import batches


@pytest.fixture(params=["sam", "asam", "lookbehind_sam_adaptive", "lookbehind_adam"])
def tx(request):
    return METHODS[request.param].optimizer()


@pytest.fixture(scope="module")
def data():
    return jax.tree.map(lambda x: x[0], batches(number=1, size=32))


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def losses(tx, params, loss_fn, steps=15):
    """Losses along training; the weights keep their tree."""

    @jax.jit
    def step(params, state):
        loss, grads, grad_fn = ol.value_and_grad(loss_fn)(params)
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
    tx = METHODS["lookbehind_sam"].optimizer()
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


X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)), jnp.float32)


def nnx_loss(model):
    return jnp.mean((model(X) - 1) ** 2)


@pytest.mark.parametrize("outer", [lambda tree: tree, nnx.as_pure], ids=["Param", "arrays"])
@pytest.mark.parametrize("inner", [lambda tree: tree, nnx.as_pure], ids=["Param", "arrays"])
def test_variables_around_the_arrays_of_a_gradient_do_not_matter(outer, inner):
    graphdef, state = nnx.split(nnx.Linear(4, 2, rngs=nnx.Rngs(0)))
    params, tx = outer(state), ol.lookbehind_sam(2, 0.05, "adaptive")

    def grad_fn(params, i):
        return inner(nnx.grad(nnx_loss)(nnx.merge(graphdef, params)))

    grads = outer(nnx.grad(nnx_loss)(nnx.merge(graphdef, state)))
    updates, _ = tx.update(grads, tx.init(params), params, grad_fn=grad_fn)
    assert jax.tree.structure(updates) == jax.tree.structure(grads)
    expected, _ = tx.update(
        nnx.as_pure(grads),
        tx.init(nnx.as_pure(state)),
        nnx.as_pure(state),
        grad_fn=lambda p, i: nnx.as_pure(grad_fn(p, i)),
    )
    for a, b in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_the_first_gradient_must_be_like_the_weights():
    _, state = nnx.split(nnx.Linear(4, 2, rngs=nnx.Rngs(0)))
    tx, pure = ol.sam(0.05), nnx.as_pure(state)
    with pytest.raises(ValueError, match=r"^updates .*nnx\.as_pure"):
        tx.update(state, tx.init(pure), pure, grad_fn=lambda p, i: p)
