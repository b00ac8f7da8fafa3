"""Methods, mappings over eight devices and a training loop, for the tests of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, PartitionSpec

import optax_lookbehind as ol
from tests.support.problems import classification_loss, is_vector

DEVICES, STEPS = 8, 6
REPLICATED, SHARDED = PartitionSpec(), PartitionSpec("data")

# Name -> a function from axis_name and sync_perturbation to an optimizer.
METHODS = {
    "sam": lambda **over: optax.chain(ol.sam(0.1, **over), optax.sgd(0.1)),
    "lookbehind_adaptive": lambda **over: optax.chain(
        ol.lookbehind_sam(3, 0.1, "adaptive", **over), optax.sgd(0.1)
    ),
    "lookbehind_adam": lambda **over: ol.lookbehind_sam(
        3, 0.1, 0.5, fast_optimizer=optax.adam(1e-2), **over
    ),
    "multistep_mean": lambda **over: optax.chain(
        ol.multistep_asam(2, 0.1, average=True, **over), optax.sgd(0.1)
    ),
    "ae_sam": lambda **over: optax.chain(ol.ae_sam(0.1, STEPS, **over), optax.sgd(0.1)),
    "ae_looksam": lambda **over: optax.chain(
        ol.ae_looksam(0.1, 0.5, STEPS, **over), optax.sgd(0.1)
    ),
    "ae_lookbehind": lambda **over: optax.chain(
        ol.ae_lookbehind_sam(2, 0.1, "adaptive", STEPS, **over), optax.sgd(0.1)
    ),
    "looksam": lambda **over: optax.chain(ol.looksam(0.1, 0.5, 2, **over), optax.sgd(0.1)),
    "ss_sam": lambda **over: optax.chain(ol.ss_sam(0.1, **over), optax.sgd(0.1)),
    "esam": lambda **over: optax.chain(ol.esam(0.1, **over), optax.sgd(0.1)),
    "gsam": lambda **over: optax.chain(ol.gsam(0.1, **over), optax.sgd(0.1)),
    "stable_sam": lambda **over: optax.chain(ol.stable_sam(0.1, **over), optax.sgd(0.1)),
    "saner": lambda **over: optax.chain(ol.saner(0.1, **over), optax.sgd(0.1)),
    "sam_on": lambda **over: optax.chain(ol.sam_on(0.1, is_vector, **over), optax.sgd(0.1)),
    "friendly_sam": lambda **over: optax.chain(ol.friendly_sam(0.1, **over), optax.sgd(0.1)),
    "vasso": lambda **over: optax.chain(ol.vasso(0.1, 0.4, **over), optax.sgd(0.1)),
    "wsam_decoupled": lambda **over: ol.wsam_decoupled(optax.adam(1e-2), 1e-2, 0.1, **over),
}


def make_step(tx, axis_name=None):
    """A training step on this device's part of the batch, as in the guide."""

    def step(params, state, batch):
        grad_fn = lambda p, i: jax.grad(classification_loss)(p, batch)
        grads = grad_fn(ol.per_device_params(params, axis_name), 0)
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


def by_shard_map(tx, check_vma):
    return jax.jit(on_mesh(make_step(tx, "data"), check_vma=check_vma))


def split(batch):
    return jax.tree.map(lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), batch)


def by_pmap(tx):
    mapped = jax.pmap(make_step(tx, "data"), axis_name="data", in_axes=(None, None, 0))

    def step(params, state, batch):
        everywhere = mapped(params, state, split(batch))
        for leaf in map(numbers, jax.tree.leaves(everywhere)):
            assert (leaf == leaf[:1]).all()  # the same weights and state on every device
        return jax.tree.map(lambda x: x[0], everywhere)

    return step


def numbers(x):
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def by_vmap(tx):
    # out_axes=None raises for results that differ between the microbatches.
    mapped = jax.vmap(
        make_step(tx, "data"), axis_name="data", in_axes=(None, None, 0), out_axes=None
    )
    return jax.jit(lambda params, state, batch: mapped(params, state, split(batch)))


MAPPINGS = {
    "shard_map": functools.partial(by_shard_map, check_vma=True),
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
        lambda a, b: np.testing.assert_allclose(numbers(a), numbers(b), rtol=0, atol=tolerance),
        first,
        second,
    )


def largest_difference(first, second):
    return max(jax.tree.leaves(jax.tree.map(lambda a, b: float(abs(a - b).max()), first, second)))
