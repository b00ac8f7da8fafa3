"""Weights sharded over eight virtual devices: the numbers of one device, and nothing gathered."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optax_lookbehind as ol
from benchmarks.hlo import count
from tests.support.methods import METHODS, each
from tests.support.problems import batches, classification_loss, make_step, network

STEPS = 3


class Layout(NamedTuple):
    """Shape of the mesh of eight devices, and which axes divide weights and batch."""

    shape: tuple[int, int]
    weights: Any
    batch: PartitionSpec


def layout(shape, hidden, hidden_bias, out, batch):
    weights = {"hidden": {"w": hidden, "b": hidden_bias}, "out": {"w": out, "b": PartitionSpec()}}
    return Layout(shape, weights, batch)


P = PartitionSpec
LAYOUTS = {
    "both": layout((4, 2), P("data", "model"), P("model"), P(("model", "data")), P("data")),
    "FSDP": layout((8, 1), P(None, "data"), P("data"), P("data"), P("data")),
    "tensor parallel": layout((1, 8), P(None, "model"), P("model"), P("model"), P()),
}


def sharded_step(tx, loss_fn, shardings):
    """A training step that keeps gradients, weights and state sharded, as in the guide."""

    def step(params, state, batch):
        def grad_fn(params, i):
            value, grads = jax.value_and_grad(loss_fn)(params, batch)
            return ol.ValueAndGrads(value, jax.lax.with_sharding_constraint(grads, shardings))

        _, grads = grad_fn(params, 0)
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    return step


def state_shardings(tx, params, shardings, mesh):
    replicated = NamedSharding(mesh, PartitionSpec())
    return optax.tree.map_params(
        tx,
        lambda _, sharding: sharding,
        jax.eval_shape(tx.init, params),
        shardings,
        transform_non_params=lambda _: replicated,
    )


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(layout, marks=[] if name == "both" else pytest.mark.slow, id=name)
        for name, layout in LAYOUTS.items()
    ],
)
@each(slow=True)
def test_fsdp_and_tensor_parallelism_equal_one_device(method, layout, float64):
    tx = method.optimizer()
    params, _ = network(dtype=jnp.float64)
    data = batches(number=STEPS, size=32, dtype=jnp.float64)
    mesh = jax.make_mesh(layout.shape, ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), layout.weights)
    in_state = state_shardings(tx, params, shardings, mesh)
    alone = jax.jit(make_step(tx, classification_loss))
    together = jax.jit(
        sharded_step(tx, classification_loss, shardings), out_shardings=(shardings, in_state)
    )

    expected, result = (params, tx.init(params)), jax.device_put(params, shardings)
    result = (result, jax.jit(tx.init, out_shardings=in_state)(result))
    for t in range(STEPS):
        batch = jax.tree.map(lambda x, t=t: x[t], data)
        expected = alone(*expected, batch)[:2]
        batch = jax.device_put(batch, NamedSharding(mesh, layout.batch))
        result = together(*result, batch)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12), result, expected
    )
    assert result[0]["hidden"]["w"].sharding.shard_shape((4, 8)) != (4, 8)


WIDTH = 64


def compile_fsdp(tx):
    """The text of a compiled step of two square layers of 64 x 64, sharded over eight devices."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))

    def abstract(x):
        sharding = split if x.ndim == 2 else NamedSharding(mesh, PartitionSpec())
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    def loss_fn(params, batch):
        for weights in params.values():
            batch = jnp.tanh(batch @ weights)
        return (batch**2).mean()

    params = {name: jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32) for name in "ab"}
    params, state = jax.tree.map(abstract, (params, jax.eval_shape(tx.init, params)))
    shardings = jax.tree.map(lambda x: x.sharding, params)
    out = jax.tree.map(lambda x: x.sharding, (params, state))
    step = jax.jit(sharded_step(tx, loss_fn, shardings), out_shardings=out)
    batch = abstract(jax.ShapeDtypeStruct((8, WIDTH), jnp.float32))
    return step.lower(params, state, batch).compile().as_text()


def collective_bytes(hlo):
    return sum(size for _, size in count(hlo).collectives.values())


@pytest.mark.parametrize(
    ("name", "gradients"),
    [
        ("lookbehind_sam_adaptive", 4),
        pytest.param("ae_looksam", 2, marks=pytest.mark.slow),
        pytest.param("sam", 2, marks=pytest.mark.slow),
        pytest.param("lookbehind_adam", 3, marks=pytest.mark.slow),
    ],
)
def test_collectives_carry_as_many_gradients_as_are_taken_and_loops_no_whole_weights(
    name, gradients
):
    plain = collective_bytes(compile_fsdp(optax.with_extra_args_support(optax.sgd(0.1))))
    hlo = compile_fsdp(METHODS[name].optimizer())
    assert collective_bytes(hlo) == pytest.approx(gradients * plain, rel=0.02)  # norms: scalars
    carries = re.findall(r"^ *%?while\S* = \((.*?)\) while\(", hlo, re.M)
    assert len(carries) == name.startswith("lookbehind")
    assert f"[{WIDTH},{WIDTH}]" not in "".join(carries)
