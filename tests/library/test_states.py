"""States: constant types, serialization, shardings like those of the weights, rules' own states."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

import optax_lookbehind as ol
from tests.support.methods import METHODS, each
from tests.support.problems import batches, classification_loss, make_step, network, quadratic


def train(tx, params, state, steps, dtype=jnp.float32):
    step, data = jax.jit(make_step(tx, classification_loss)), batches(dtype=dtype)
    for t in steps:
        params, state, _ = step(params, state, jax.tree.map(lambda x, t=t: x[t], data))
    return params, state


def assert_same_types(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert jax.tree.map(jnp.shape, first) == jax.tree.map(jnp.shape, second)
    assert jax.tree.map(lambda x: x.dtype, first) == jax.tree.map(lambda x: x.dtype, second)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@each()
def test_weights_and_state_keep_structure_shapes_and_dtypes(method, dtype):
    tx, start = method.optimizer(), network(dtype=dtype)[0]
    params, state = train(tx, start, tx.init(start), range(2), dtype)
    assert_same_types(params, start)
    assert_same_types(state, jax.tree.map(jnp.asarray, tx.init(start)))


def through_flax(state, empty, folder):
    return flax.serialization.from_bytes(empty, flax.serialization.to_bytes(state))


def through_orbax(state, empty, folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "state", empty)


@pytest.mark.parametrize("through", [through_flax, through_orbax])
@each()
def test_a_state_that_was_saved_continues_as_if_it_had_not(method, through, tmp_path):
    tx, start = method.optimizer(), network()[0]
    params, state = train(tx, start, tx.init(start), range(2))
    restored = through(state, jax.tree.map(jnp.asarray, tx.init(start)), tmp_path)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    result, expected = (train(tx, params, s, (2, 3)) for s in (restored, state))
    jax.tree.map(np.testing.assert_array_equal, result, expected)


@pytest.mark.parametrize("make", [partial(ol.ss_sam, 0.1), partial(ol.esam, 0.1)])
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_a_given_key_survives_the_donation_of_the_state(make, impl):
    key = jax.random.key(0, impl=impl)
    tx, w = make(key=key), jnp.ones(3)
    step = jax.jit(
        lambda state: tx.update(w, state, w, grad_fn=lambda p, i: p)[1], donate_argnums=0
    )
    first, again = step(tx.init(w)), step(tx.init(w))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    jax.random.uniform(key)  # not donated


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((2,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))


@each()
def test_the_state_can_be_placed_like_the_weights(method, mesh):
    """``optax.tree.map_params`` gives each part that mirrors the weights their sharding."""
    params, _ = network()
    by_rank = {1: PartitionSpec(), 2: PartitionSpec(None, "model")}
    params["out"] = {"w": jnp.ones((8, 4)), "b": jnp.ones(4)}
    shardings = jax.tree.map(lambda w: NamedSharding(mesh, by_rank[w.ndim]), params)
    tx = method.make()
    state = tx.init(params)
    everywhere = NamedSharding(mesh, PartitionSpec())
    placed = optax.tree.map_params(
        tx,
        jax.device_put,
        state,
        shardings,
        transform_non_params=lambda leaf: jax.device_put(leaf, everywhere),
    )
    assert jax.tree.structure(placed) == jax.tree.structure(state)
    for part, leaf in zip(jax.tree.leaves(placed), jax.tree.leaves(state), strict=True):
        assert part.shape == leaf.shape
        assert (part.sharding.spec == by_rank[2]) == (part.ndim == 2)


class Dense(nn.Module):
    @nn.compact
    def __call__(self, x):
        init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
        return nn.Dense(4, kernel_init=init)(x)


@pytest.mark.parametrize("name", ["lookbehind_asam", "ae_looksam", "vasso"])
def test_the_partition_specs_of_linen_fit_the_state(name, mesh):
    params = Dense().init(jax.random.key(0), jnp.ones((1, 3)))
    state = METHODS[name].make().init(params)
    specs = nn.get_partition_spec(state)
    for leaf, spec in zip(
        jax.tree.leaves(nn.unbox(state)),
        jax.tree.leaves(specs, is_leaf=lambda x: isinstance(x, PartitionSpec)),
        strict=True,
    ):
        jax.device_put(leaf, NamedSharding(mesh, spec or PartitionSpec()))


@pytest.mark.parametrize("alpha", ["adaptive", "adaptive_per_tensor"])
def test_the_optimizer_of_nnx_trains_sharded_weights(alpha, mesh):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)), jnp.float32)

    def loss_fn(model):
        return jnp.mean((model(x) - 1) ** 2)

    with jax.set_mesh(mesh):
        init = nnx.with_partitioning(nnx.initializers.lecun_normal(), (None, "model"))
        model = nnx.Linear(4, 4, kernel_init=init, rngs=nnx.Rngs(0))
        tx = optax.chain(ol.lookbehind_sam(2, 0.05, alpha), optax.sgd(0.1, momentum=0.9))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

        @nnx.jit
        def step(model, optimizer):
            graphdef, params = nnx.split(model)
            loss_of = lambda params: loss_fn(nnx.merge(graphdef, params))
            loss, grads, grad_fn = ol.value_and_grad(loss_of)(params)
            optimizer.update(model, grads, grad_fn=grad_fn)
            return loss

        losses = [float(step(model, optimizer)) for _ in range(3)]
    assert losses[2] < losses[0]


class MeanGradient(NamedTuple):
    """A running mean of the plain gradients."""

    mean: Any


def away_from_the_mean(decay=0.5):
    """A filter in front of a rule: the gradient minus the mean of those before."""

    def update(updates, state, params=None):
        mean = jax.tree.map(lambda m, g: decay * m + (1 - decay) * g, state.mean, updates)
        return optax.tree.sub(updates, state.mean), MeanGradient(mean)

    init = lambda params: MeanGradient(optax.tree.zeros_like(params))
    return optax.GradientTransformation(init, update)


STATEFUL = {
    "always": lambda rule, **o: ol.multistep(rule, **o),
    "multistep": lambda rule, **o: ol.multistep(rule, 3, average=True, **o),
    "lookbehind": lambda rule, **o: ol.lookbehind(rule, 2, 0.5, **o),
    "periodic": lambda rule, **o: ol.multistep(rule, policy=ol.periodic_policy(3), **o),
    "reuse": lambda rule, **o: ol.multistep(
        rule, combine=ol.reuse_direction(0.5), policy=ol.periodic_policy(3), **o
    ),
}


@pytest.mark.parametrize("sync", [None, True, False])
@pytest.mark.parametrize("name", STATEFUL)
def test_the_state_of_a_rule_follows_the_plain_gradient_that_devices_share(name, sync, float64):
    options = {} if sync is None else {"axis_name": "data", "sync_perturbation": sync}
    rule = optax.chain(away_from_the_mean(), ol.sam_perturbation(0.1))
    tx = STATEFUL[name](rule, **options)
    matrix, w = map(jnp.asarray, quadratic())
    centres = jnp.asarray(np.random.default_rng(0).normal(size=(4, len(w))))  # one per device

    def step(w, state, centre):
        grad_fn = lambda p, i: matrix @ p - centre
        updates, state = tx.update(grad_fn(w, 0), state, w, grad_fn=grad_fn)
        return w - 0.1 * updates, state

    if sync is None:
        train = lambda w, state: step(w, state, centres.mean(0))
    else:  # out_axes=None raises for a state that differs between the devices
        mapped = jax.vmap(step, in_axes=(None, None, 0), out_axes=None, axis_name="data")
        train = lambda w, state: mapped(w, state, centres)
    train = jax.jit(train)
    state, mean = tx.init(w), 0
    for _ in range(5):
        mean = 0.5 * mean + 0.5 * (matrix @ w - centres.mean(0))
        w, state = train(w, state)
        np.testing.assert_allclose(optax.tree.get(state, "mean"), mean, rtol=1e-12)
