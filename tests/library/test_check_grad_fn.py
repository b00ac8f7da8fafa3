"""Each mistake in a setup is found and described, and a correct setup has no problems."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import batches, network

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def setup():
    """Weights, a grad_fn on minibatch i of five, and the gradient on the first."""
    params, loss_fn = network(dtype=jnp.float64)
    data = batches(number=5, dtype=jnp.float64)

    def grad_fn(params, i):
        return jax.grad(loss_fn)(params, jax.tree.map(lambda x: x[i], data))

    return params, grad_fn, grad_fn(params, 0)


def only(problems):
    """The one problem that was found."""
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_right_setup_has_no_problems(k, setup):
    params, grad_fn, grads = setup
    assert ol.check_grad_fn(grad_fn, params, grads, k) == []
    one_minibatch = lambda p, i: grad_fn(p, 0)
    assert ol.check_grad_fn(one_minibatch, params, grads, k) == []
    lookahead = optax.LookaheadParams(fast=params, slow=params)
    assert ol.check_grad_fn(grad_fn, lookahead, grads, k) == []


def test_eager_and_compiled_gradients_in_float32_and_bfloat16_agree(setup):
    for dtype in (jnp.float32, jnp.bfloat16):
        params, loss_fn = network(dtype=dtype)
        batch = jax.tree.map(lambda x: x[0], batches(dtype=dtype))
        grad_fn = lambda p, i: jax.grad(loss_fn)(p, batch)
        assert ol.check_grad_fn(grad_fn, params, jax.jit(grad_fn)(params, 0)) == []


@pytest.mark.parametrize("factor", [2.0**15, 1 / 3, -1.0])
def test_another_scale_is_named_with_its_factor(factor, setup):
    params, grad_fn, grads = setup
    problem = only(ol.check_grad_fn(grad_fn, params, optax.tree.scale(factor, grads)))
    assert f"{factor:.6g} times" in problem
    assert "loss scaling" in problem


def test_a_sum_over_the_devices_is_named(setup):
    params, grad_fn, grads = setup
    for factor in (jax.device_count(), 1 / jax.device_count()):
        problem = only(ol.check_grad_fn(grad_fn, params, optax.tree.scale(factor, grads)))
        assert "number of devices" in problem


def test_another_minibatch_and_other_weights_are_found(setup):
    params, grad_fn, grads = setup
    elsewhere = optax.tree.add_scale(params, 0.1, grads)
    for other in (grad_fn(params, 1), grad_fn(elsewhere, 0)):
        assert "another minibatch" in only(ol.check_grad_fn(grad_fn, params, other))


def test_a_gradient_that_differs_in_one_leaf_is_located(setup):
    params, grad_fn, grads = setup
    frozen = {"hidden": grads["hidden"], "out": optax.tree.zeros_like(grads["out"])}
    problem = only(ol.check_grad_fn(grad_fn, params, frozen))
    assert "['out']['w']" in problem
    assert "['hidden']" not in problem


def test_randomness_that_differs_between_calls_is_found(setup):
    params, grad_fn, _ = setup
    rng = np.random.default_rng(0)
    noisy = lambda p, i: jax.tree.map(lambda g: g * rng.uniform(0.9, 1.1), grad_fn(p, i))
    assert "randomness" in only(ol.check_grad_fn(noisy, params, noisy(params, 0)))


def test_a_gradient_at_weights_closed_over_is_found(setup):
    params, grad_fn, grads = setup
    closed_over = lambda p, i: grad_fn(params, i)
    assert "same gradient at other weights" in only(ol.check_grad_fn(closed_over, params, grads))


@pytest.mark.parametrize("k", [7, 20])
def test_an_inner_step_beyond_the_stacked_minibatches_is_found(k, setup):
    params, grad_fn, grads = setup
    problem = only(ol.check_grad_fn(grad_fn, params, grads, k))
    assert f"k = {k}" in problem
    assert "clamps" in problem
    around = lambda p, i: grad_fn(p, i % 5)
    assert ol.check_grad_fn(around, params, grads, k) == []


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda g: (1.0, g), "ValueAndGrads"),
        (lambda g: (g, {"accuracy": 1.0}), "ValueAndGrads"),
        (lambda g: g["hidden"], "['hidden']"),
        (lambda g: jax.tree.map(lambda x: x[None], g), "(1, 8)"),
        (lambda g: jax.tree.map(lambda x: x.astype(int), g), "int64"),
        (lambda g: jax.tree.map(lambda x: x > 0, g), "bool"),
        (lambda g: jax.tree.map(lambda x: x + 1j, g), "complex128"),
        (lambda g: jax.tree.map(lambda x: x * jnp.nan, g), "NaN"),
        (lambda g: jax.tree.map(lambda x: x * 0, g), "zero"),
    ],
)
def test_a_result_unlike_the_weights_is_described(change, shown, setup):
    params, grad_fn, grads = setup
    changed = lambda p, i: change(grad_fn(p, i))
    problem = only(ol.check_grad_fn(changed, params, grads))
    assert "grad_fn" in problem
    assert shown in problem
    if not isinstance(change(grads), tuple):
        assert shown in only(ol.check_grad_fn(grad_fn, params, change(grads)))


def test_a_grad_fn_that_cannot_be_traced_is_found(setup):
    params, grad_fn, grads = setup
    listed = lambda p, i: grad_fn(p, [0, 1, 2][i])
    assert "cannot be traced" in only(ol.check_grad_fn(listed, params, grads))


def test_reduced_and_per_device_gradients_are_found_inside_shard_map():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    w, data = jnp.ones(3), jnp.arange(24.0).reshape(8, 3)
    grad_fn = lambda p, i, batch: jax.grad(lambda w: jnp.sum((batch @ w) ** 2))(p)
    found = {}

    @functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(jax.P(), jax.P("data")),
        out_specs=jax.P(),
    )
    def step(w, batch):
        own = functools.partial(grad_fn, batch=batch)
        reduced, local = own(w, 0), own(ol.per_device_params(w, "data"), 0)
        found["right"] = ol.check_grad_fn(own, w, local, axis_name="data")
        found["reduced"] = ol.check_grad_fn(own, w, reduced, axis_name="data")
        return w

    step(w, data)
    assert found["right"] == []
    assert "per_device_params" in only(found["reduced"])
