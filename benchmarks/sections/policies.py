"""Policies with sharded weights, with and without a constraint on the gradient; compiled only.

The layers are scanned and rematerialized, as in large language models: within a branch XLA's GPU
compiler leaves the stacked gradient of such a scan whole on every device.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import optax_lookbehind as ol
from benchmarks.hlo import count
from benchmarks.sections.compilation import temporary_memory
from benchmarks.sections.step_time import RHO, SGD
from benchmarks.setups import Setup
from benchmarks.tables import Row, Table
from benchmarks.targets import TARGETS, compile_for, devices, is_available

_LAYERS, _WIDTH, _BATCH = 16, 1024, 64
_NUM_WEIGHTS = _LAYERS * 8 * _WIDTH**2

METHODS = {
    "SGD": lambda: optax.with_extra_args_support(optax.identity()),
    "SAM": lambda: ol.sam(RHO),
    "AE-SAM": lambda: ol.ae_sam(RHO, 1000),
    "SS-SAM": lambda: ol.ss_sam(RHO),
}

Params = dict[str, jax.Array]


def measure(setup: Setup) -> Table:
    """Compiles every method for every target whose compiler is installed."""
    del setup  # the same on all machines
    rows = [row for target in TARGETS if is_available(target) for row in measure_target(target)]
    return Table(
        "Policies with scanned layers and sharded weights, compiled and not run",
        rows,
        f"{_LAYERS} scanned and rematerialized blocks of {_WIDTH} x {4 * _WIDTH} and "
        f"{4 * _WIDTH} x {_WIDTH} float32 weights, sharded over eight devices, jax "
        f"{jax.__version__}; a policy's step with SAM. Memory: temporary memory in addition to "
        "SGD's, in units of a device's part of the weights. Communicated: bytes of all collectives "
        "relative to SGD's. Constrained: with_sharding_constraint on the gradients in grad_fn.",
    )


def measure_target(target: str) -> list[Row]:
    """The rows of one target."""
    part = 4 * _NUM_WEIGHTS / 8
    memory, communicated = compile_step(target, "SGD", False)
    rows: list[Row] = []
    for name in METHODS:
        plain, constrained = (compile_step(target, name, flag) for flag in (False, True))
        rows.append(
            {
                "target": target,
                "step": name,
                "memory": (plain[0] - memory) / part,
                "memory, constrained": (constrained[0] - memory) / part,
                "communicated": plain[1] / communicated,
                "communicated, constrained": constrained[1] / communicated,
            }
        )
    return rows


def compile_step(target: str, name: str, constrain: bool) -> tuple[int, int]:
    """Temporary memory of a training step, and the bytes of its collectives' results."""
    mesh = Mesh(np.array(devices(target)), ("data",))
    split = NamedSharding(mesh, PartitionSpec(None, "data"))
    tx = optax.chain(METHODS[name](), SGD)

    def abstract(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        sharding = split if x.ndim == 3 else NamedSharding(mesh, PartitionSpec())
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    params = {
        "in": jax.ShapeDtypeStruct((_LAYERS, _WIDTH, 4 * _WIDTH), jnp.float32),
        "out": jax.ShapeDtypeStruct((_LAYERS, 4 * _WIDTH, _WIDTH), jnp.float32),
    }
    arguments = jax.tree.map(abstract, (params, jax.eval_shape(tx.init, params)))
    batch = jax.ShapeDtypeStruct(
        (_BATCH, _WIDTH), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("data"))
    )

    def step(params: Params, state: optax.OptState, batch: jax.Array) -> Any:
        def grad_fn(params: Params, i: jax.Array) -> Params:
            del i  # every inner step stays on this batch
            grads = jax.grad(_loss)(params, batch)
            return jax.lax.with_sharding_constraint(grads, split) if constrain else grads

        grads = grad_fn(params, jnp.int32(0))
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    out = jax.tree.map(lambda x: x.sharding, arguments)
    traced = jax.jit(step, donate_argnums=(0, 1), out_shardings=out).trace(*arguments, batch)
    compiled = compile_for(target, traced)
    collectives = count(compiled.as_text() or "").collectives
    return temporary_memory(compiled), sum(size for _, size in collectives.values())


def _loss(params: Params, batch: jax.Array) -> jax.Array:
    @jax.checkpoint
    def block(x: jax.Array, weights: Params) -> tuple[jax.Array, None]:
        return x + jnp.tanh(x @ weights["in"]) @ weights["out"], None

    x, _ = jax.lax.scan(block, batch, params)
    return (x**2).mean()
