"""Mappings over eight devices and a training loop, for the tests of devices."""

import functools

import jax
import numpy as np
import optax
from jax.sharding import AxisType, PartitionSpec

import optax_lookbehind as ol
from tests.support.problems import classification_loss

DEVICES, STEPS = 8, 6
REPLICATED, SHARDED = PartitionSpec(), PartitionSpec("data")


def make_step(tx, axis_name=None):
    """A training step on this device's part of the batch, as in the guide."""

    def step(params, state, batch):
        loss_fn = ol.value_and_grad(classification_loss, axis_name=axis_name)
        _, grads, grad_fn = loss_fn(params, batch)
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    return step


def mesh(devices=DEVICES, axis_type=AxisType.Auto):
    return jax.make_mesh((devices,), ("data",), axis_types=(axis_type,))


def on_mesh(step, devices=DEVICES, **options):
    """``step`` on each device's part of the batch, weights and state being shared."""
    specs = {
        "in_specs": (REPLICATED, REPLICATED, SHARDED),
        "out_specs": (REPLICATED, REPLICATED),
    }
    return jax.shard_map(step, mesh=mesh(devices), **specs, **options)


def by_shard_map(step, check_vma=True):
    return jax.jit(on_mesh(step, check_vma=check_vma))


def split(batch):
    return jax.tree.map(lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), batch)


def by_pmap(step):
    mapped = jax.pmap(step, axis_name="data", in_axes=(None, None, 0))

    def one_of_all(params, state, batch):
        everywhere = mapped(params, state, split(batch))
        for leaf in jax.tree.leaves(everywhere):
            assert (leaf == leaf[:1]).all()  # the same weights and state on every device
        return jax.tree.map(lambda x: x[0], everywhere)

    return one_of_all


def by_vmap(step):
    # out_axes=None raises for results that differ between the microbatches.
    mapped = jax.vmap(step, axis_name="data", in_axes=(None, None, 0), out_axes=None)
    return jax.jit(lambda params, state, batch: mapped(params, state, split(batch)))


# From a step on a device's part of the batch to one on the batch.
MAPPINGS = {
    "shard_map": by_shard_map,
    "shard_map_unchecked": functools.partial(by_shard_map, check_vma=False),
    "pmap": by_pmap,
    "vmap": by_vmap,
}


def train(step, tx, params, data):
    state = tx.init(params)
    for t in range(STEPS):
        params, state = step(params, state, jax.tree.map(lambda x: x[t], data))
    return params, state


def assert_close(first, second, tolerance=1e-10):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance), first, second
    )


def largest_difference(first, second):
    return max(jax.tree.leaves(jax.tree.map(lambda a, b: float(abs(a - b).max()), first, second)))
