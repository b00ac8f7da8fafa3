"""One code path for one device, many devices and microbatches: the same numbers in float64."""

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optax_lookbehind as ol
from tests.support.devices import (
    DEVICES,
    MAPPINGS,
    REPLICATED,
    STEPS,
    assert_close,
    by_shard_map,
    by_vmap,
    largest_difference,
    make_step,
    mesh,
    on_mesh,
    split,
    train,
)
from tests.support.methods import METHODS, each
from tests.support.problems import batches, classification_loss, network

on_devices = each(lambda method: method.all_reduces, slow=True)


@pytest.fixture
def problem(float64):
    return network(dtype=jnp.float64)[0], batches(number=STEPS, size=32, dtype=jnp.float64)


def mappings_of(method):
    """All for one method of each kind; ``shard_map`` and ``vmap`` for the others."""
    return MAPPINGS if method.quick else ["shard_map", "vmap"]


@on_devices
def test_synced_perturbation_equals_one_device_on_the_global_batch(method, problem):
    alone, tx = method.optimizer(), method.optimizer(axis_name="data")
    expected = train(jax.jit(make_step(alone)), alone, *problem)
    for mapping in mappings_of(method):
        assert_close(train(MAPPINGS[mapping](make_step(tx, "data")), tx, *problem), expected)


@on_devices
def test_unsynced_perturbation_agrees_across_mappings_and_differs_from_the_global_batch(
    method, problem
):
    tx = method.optimizer(axis_name="data", sync_perturbation=False)
    run = lambda mapping: train(MAPPINGS[mapping](make_step(tx, "data")), tx, *problem)
    results = {mapping: run(mapping) for mapping in mappings_of(method)}
    for result in results.values():
        assert_close(result, results["vmap"])
    alone = method.optimizer()
    on_the_global_batch = train(jax.jit(make_step(alone)), alone, *problem)
    assert largest_difference(results["vmap"][0], on_the_global_batch[0]) > 1e-6


def test_m_sam_perturbs_each_microbatch_separately(problem):
    params, data = problem
    batch = jax.tree.map(lambda x: x[0], data)
    tx = ol.sam(0.1, axis_name="data", sync_perturbation=False)
    grad = jax.grad(classification_loss)

    def one(part):
        return tx.update(grad(params, part), state, params, grad_fn=lambda p, i: grad(p, part))[0]

    state = tx.init(params)
    result = jax.vmap(one, axis_name="data", out_axes=None)(split(batch))

    def by_hand(part):
        g = grad(params, part)
        return grad(optax.tree.add_scale(params, 0.1 / optax.tree.norm(g), g), part)

    parts = [by_hand(jax.tree.map(lambda x: x[i], split(batch))) for i in range(DEVICES)]
    assert_close(result, jax.tree.map(lambda *g: sum(g) / DEVICES, *parts))


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@on_devices
def test_jit_over_sharded_batches_needs_no_axis_name(method, axis_type, problem):
    params, data = problem
    tx = method.optimizer()
    expected = train(jax.jit(make_step(tx)), tx, params, data)
    devices = mesh(axis_type=axis_type)
    with jax.set_mesh(devices):
        data = jax.device_put(data, NamedSharding(devices, PartitionSpec(None, "data")))
        params = jax.device_put(params, NamedSharding(devices, REPLICATED))
        result = train(jax.jit(make_step(tx)), tx, params, data)
    assert_close(result, expected)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(result[0]))


@pytest.mark.parametrize("sync", [True, False])
def test_ae_sam_does_not_deadlock_where_local_gradients_disagree(sync, problem):
    params, (x, y) = problem
    # Each device sees large examples, and so a large gradient, at steps of its own.
    device = jnp.arange(32) // 4
    x = x * jnp.where((jnp.arange(STEPS)[:, None] + device) % 3 == 0, 10.0, 0.1)[..., None]
    make = lambda **over: optax.chain(ol.ae_sam(0.1, STEPS, 0.5, 0.5, **over), optax.sgd(0.1))
    tx, alone = make(axis_name="data", sync_perturbation=sync), make()
    step_alone = jax.jit(make_step(alone))

    def local_uses(device):
        own = jax.tree.map(lambda a: a[:, 4 * device : 4 * device + 4], (x, y))
        state, uses = alone.init(params), []
        for t in range(STEPS):
            _, state = step_alone(params, state, (own[0][t], own[1][t]))
            uses.append(int(optax.tree.get(state, "applied")))
        return uses

    assert len({tuple(local_uses(device)) for device in range(4)}) > 1
    result = train(by_shard_map(make_step(tx, "data")), tx, params, (x, y))
    again = train(by_vmap(make_step(tx, "data")), tx, params, (x, y))
    assert_close(result, again)


@pytest.mark.parametrize("name", ["lookbehind_sam_adaptive", "ae_looksam"])
def test_products_of_sharded_weights_are_not_gathered(name):
    spec = NamedSharding(mesh(), PartitionSpec(None, "data"))
    tx = METHODS[name].optimizer()
    w = jax.ShapeDtypeStruct((64, 64), jnp.float32, sharding=spec)
    state = jax.eval_shape(tx.init, w)
    state = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=spec) if x.ndim == 2 else x, state
    )
    step = jax.jit(lambda w, state: tx.update(w, state, w, grad_fn=lambda p, i: jnp.sin(p)))
    assert "all-gather" not in step.lower(w, state).compile().as_text()


def test_the_mean_inside_the_loss_needs_no_axis_name(problem):
    params, data = problem
    tx = METHODS["lookbehind_sam_adaptive"].optimizer()
    expected = train(jax.jit(make_step(tx)), tx, params, data)

    def step(params, state, batch):
        loss = lambda p: jax.lax.pmean(classification_loss(p, batch), "data")
        _, grads, grad_fn = ol.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    assert_close(train(jax.jit(on_mesh(step)), tx, params, data), expected)
