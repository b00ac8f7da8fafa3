"""The warning under pmap without axis_name, where the weights of the devices drift apart."""

import warnings

import jax
import jax.numpy as jnp
import pytest

import optax_lookbehind as ol

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
