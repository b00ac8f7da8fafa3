"""Tools that give an optimizer state the shardings of the weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

import optax_lookbehind as ol
from tests.support.problems import CHAINED, COMPLETE, network

METHODS = CHAINED | COMPLETE


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((2,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))


@pytest.mark.parametrize("name", METHODS)
def test_the_state_can_be_placed_like_the_weights(name, mesh):
    """``optax.tree.map_params`` gives each part that mirrors the weights their sharding."""
    params, _ = network()
    by_rank = {1: PartitionSpec(), 2: PartitionSpec(None, "model")}
    params["out"] = {"w": jnp.ones((8, 4)), "b": jnp.ones(4)}
    shardings = jax.tree.map(lambda w: NamedSharding(mesh, by_rank[w.ndim]), params)
    tx = METHODS[name]()
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
    state = METHODS[name]().init(params)
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
            graphdef, _ = nnx.split(model)
            grad_fn = lambda params, i: jax.grad(lambda p: loss_fn(nnx.merge(graphdef, p)))(params)
            loss, grads = nnx.value_and_grad(loss_fn)(model)
            optimizer.update(model, grads, grad_fn=grad_fn)
            return loss

        losses = [float(step(model, optimizer)) for _ in range(3)]
    assert losses[2] < losses[0]
