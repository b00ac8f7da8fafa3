"""Gradients averaged over devices twice or not at all: errors, and the warning under pmap."""

import warnings

import jax
import jax.numpy as jnp
import pytest

import optax_lookbehind as ol
from tests.support.devices import make_step, on_mesh
from tests.support.methods import METHODS
from tests.support.problems import batches, classification_loss, network


@pytest.fixture
def problem(float64):
    params, data = network(dtype=jnp.float64)[0], batches(size=32, dtype=jnp.float64)
    return params, jax.tree.map(lambda x: x[0], data)


@pytest.mark.parametrize("name", ["sam", "lookbehind_adam", "ae_sam"])
def test_gradients_already_summed_over_the_axis_raise(name, problem):
    params, batch = problem
    tx = METHODS[name].optimizer(axis_name="data")
    step = on_mesh(make_step(tx))  # jax.grad at shared weights: the trap
    with pytest.raises(ValueError, match=r"(?s)updates .*per_device_params\(params, 'data'\)"):
        step(params, tx.init(params), batch)


def test_a_grad_fn_that_averages_raises(problem):
    params, batch = problem
    tx = ol.sam(0.1, axis_name="data")

    def step(params, state, batch):
        _, grads, grad_fn = ol.value_and_grad(classification_loss, axis_name="data")(params, batch)
        averaged = lambda p, i: jax.lax.pmean(grad_fn(p, i), "data")
        return tx.update(grads, state, params, grad_fn=averaged)

    with pytest.raises(ValueError, match="the result of grad_fn"):
        on_mesh(step)(params, tx.init(params), batch)


W, X = jnp.ones((2, 3)), jnp.arange(6.0).reshape(2, 3)


def loss_fn(w, x):
    return jnp.sum((w - x) ** 2)


def step(tx, average):
    def run(w, x):
        grad_fn = lambda w, i: average(jax.grad(loss_fn)(w, x))
        return tx.update(grad_fn(w, 0), tx.init(w), w, grad_fn=grad_fn)[0]

    return run


def own(grads):
    return grads


def mean(grads):
    return jax.lax.pmean(grads, "batch")


@pytest.mark.parametrize("tx", [ol.sam(0.1), ol.lookbehind_sam(2, 0.1, 0.5), ol.ae_sam(0.1, 5)])
def test_pmap_without_an_average_warns_with_the_axis(tx):
    with pytest.warns(UserWarning, match=r"'batch'.*axis_name"):
        jax.eval_shape(jax.pmap(step(tx, own), axis_name="batch"), W, X)


def test_pmap_without_a_name_for_its_axis_warns():
    with pytest.warns(UserWarning, match=r"jax\.pmap without axis_name"):
        jax.eval_shape(jax.pmap(step(ol.sam(0.1), own)), W, X)


def test_shard_map_without_an_average_and_without_its_check_warns():
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("batch")
    mapped = jax.shard_map(
        step(ol.sam(0.1), own), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
    )
    with pytest.warns(UserWarning, match="'batch'"):
        jax.eval_shape(mapped, W, X)


@pytest.mark.parametrize(
    ("tx", "average"),
    [(ol.sam(0.1, axis_name="batch"), own), (ol.sam(0.1), mean)],
    ids=["axis_name", "mean in grad_fn"],
)
def test_averaged_gradients_do_not_warn(tx, average):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.eval_shape(jax.pmap(step(tx, average), axis_name="batch"), W, X)


def test_vmap_over_seeds_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.eval_shape(jax.vmap(step(ol.sam(0.1), own), axis_name="seed"), W, X)
