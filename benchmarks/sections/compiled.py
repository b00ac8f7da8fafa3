"""Kernels, memory traffic and collectives of steps, compiled for accelerators but not run.

The model is a network of equal dense layers: nothing but weights and matrix products, so that what
a method adds stands out. Its weights are larger than the on-chip memory of a TPU.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import optax_lookbehind as ol
from benchmarks.hlo import Counts, count
from benchmarks.sections.compilation import temporary_memory
from benchmarks.sections.step_time import RHO, SGD
from benchmarks.setups import Setup
from benchmarks.tables import Row, Table
from benchmarks.targets import TARGETS, compile_for, devices, is_available

_LAYERS, _WIDTH, _BATCH = 4, 4096, 24
_NUM_WEIGHTS = _LAYERS * _WIDTH**2
_AXIS = "data"
_K = 5

Params = dict[str, jax.Array]


class Method(NamedTuple):
    """A method and its costs on paper.

    Attributes:
      make: ``(**axis_arguments) -> transformation`` in front of SGD.
      gradients: gradients of a step.
      least_passes: weight-sized reads and writes besides those of the gradients and of SGD, if
        each quantity is computed in one kernel: an ascent step reads the gradient for its norm,
        then reads weights and gradient and writes the perturbed weights (4); a sum over the inner
        steps is read and written by the same kernel (2 more); adaptive alpha reads the first and
        the last sum (2 a step).
    """

    make: Callable[..., optax.GradientTransformationExtraArgs]
    gradients: int
    least_passes: int


METHODS = {
    "SGD": Method(lambda **_: optax.with_extra_args_support(optax.identity()), 1, 0),
    "SAM": Method(partial(ol.sam, RHO), 2, 4),
    "Multistep-SAM, k = 5": Method(partial(ol.multistep_sam, _K, RHO), _K + 1, 4 * _K),
    "Lookbehind-SAM, k = 5": Method(partial(ol.lookbehind_sam, _K, RHO, 0.5), _K + 1, 6 * _K),
    "Lookbehind-SAM, k = 5, adaptive": Method(
        partial(ol.lookbehind_sam, _K, RHO, "adaptive"), _K + 1, 6 * _K + 2
    ),
    "AE-SAM, SAM used": Method(partial(ol.ae_sam, RHO, 1000), 2, 5),
}


class Program(NamedTuple):
    """Counts of a compiled program, and its temporary memory in bytes."""

    counts: Counts
    memory: int

    @property
    def passes(self) -> np.ndarray:
        """Reads, writes and copies of weight-sized arrays, in units of the model's weights."""
        return np.array([self.counts.reads, self.counts.writes, self.counts.copies]) / _NUM_WEIGHTS

    @property
    def communicated(self) -> float:
        """Bytes of the collectives' results, in units of the model's weights."""
        total = sum(size for _, size in self.counts.collectives.values())
        return total / (4 * _NUM_WEIGHTS)


def measure(setup: Setup) -> Table:
    """Compiles every method for every target whose compiler is installed."""
    del setup  # the same on all machines
    title = "Steps of a dense network, compiled and not run"
    missing = [name for name in TARGETS if not is_available(name)]
    note = f" Not installed: the compiler for {' and '.join(missing)}." if missing else ""
    rows = [row for name in TARGETS if name not in missing for row in measure_target(name)]
    return Table(
        title,
        rows,
        f"{_LAYERS} layers of {_WIDTH} x {_WIDTH} float32 weights, jax {jax.__version__}, counted "
        "in the compiled programs; loops with all iterations, a policy with SAM. Reads, writes, "
        "copies and memory are in units of the model's weights, besides those of the gradients "
        "and of SGD with momentum; least: reads and writes if every quantity were computed in one "
        "kernel. Communication on eight devices, in units of the weights: bytes of all "
        "collectives with replicated weights (shard_map with and without sync_perturbation) and, "
        "relative to SGD's, with sharded weights (FSDP), where the memory is in units of a "
        "device's part of the weights." + note,
    )


def measure_target(target: str) -> list[Row]:
    """The rows of one target."""
    gradient = compile_gradient(target)
    programs = {name: compile_step(target, name) for name in METHODS}
    sgd = programs["SGD"]
    sharded = {name: compile_sharded_step(target, name) for name in METHODS}
    rows: list[Row] = []
    for name, program in programs.items():
        method = METHODS[name]
        extra = extra_passes(program, gradient, sgd, method.gradients)
        synced, unsynced = (
            compile_mapped_step(target, name, sync).communicated for sync in (True, False)
        )
        rows.append(
            {
                "target": target,
                "step": name,
                "gradients": method.gradients,
                "kernels": program.counts.kernels,
                "reads": extra[0],
                "writes": extra[1],
                "least": method.least_passes,
                "copies": extra[2],
                "memory": (program.memory - sgd.memory) / (4 * _NUM_WEIGHTS),
                "all-reduced": synced,
                "unsynced": unsynced,
                "FSDP": sharded[name].communicated / sharded["SGD"].communicated,
                "FSDP memory": (sharded[name].memory - sharded["SGD"].memory)
                / (4 * _NUM_WEIGHTS / 8),
            }
        )
    return rows


def extra_passes(program: Program, gradient: Program, sgd: Program, gradients: int) -> np.ndarray:
    """Reads, writes and copies besides those of the step's gradients and of SGD."""
    return program.passes - sgd.passes - (gradients - 1) * gradient.passes


def compile_gradient(target: str) -> Program:
    """One gradient on one device."""
    mesh = Mesh(np.array(devices(target)[:1]), (_AXIS,))
    return _compile(target, lambda params, batch: (_gradient(params, batch),), mesh, None)


def compile_step(target: str, name: str) -> Program:
    """A step on one device."""
    mesh = Mesh(np.array(devices(target)[:1]), (_AXIS,))
    tx = optax.chain(METHODS[name].make(), SGD)
    return _compile(target, _training_step(tx), mesh, tx)


def compile_mapped_step(target: str, name: str, sync: bool) -> Program:
    """A step on eight devices under ``shard_map``, with replicated weights."""
    mesh = Mesh(np.array(devices(target)), (_AXIS,))
    if name == "SGD":
        average = optax.stateless(lambda grads, params: jax.lax.pmean(grads, _AXIS))
        tx = optax.chain(average, SGD)
    else:
        axis = {"axis_name": _AXIS, "sync_perturbation": sync}
        tx = optax.chain(METHODS[name].make(**axis), SGD)
    replicated, split = PartitionSpec(), PartitionSpec(_AXIS)
    step = jax.shard_map(
        _training_step(tx, per_device=True),
        mesh=mesh,
        in_specs=(replicated, replicated, split),
        out_specs=replicated,
    )
    return _compile(target, step, mesh, tx)


def compile_sharded_step(target: str, name: str) -> Program:
    """A step on eight devices under ``jit``, with weights and optimizer state sharded."""
    mesh = Mesh(np.array(devices(target)), (_AXIS,))
    tx = optax.chain(METHODS[name].make(), SGD)
    return _compile(target, _training_step(tx), mesh, tx, weights=PartitionSpec(_AXIS))


def _loss(params: Params, batch: jax.Array) -> jax.Array:
    x = batch
    for weights in params.values():
        x = jnp.tanh(x @ weights)
    return (x**2).mean()


_gradient = jax.grad(_loss)


def _training_step(
    tx: optax.GradientTransformationExtraArgs, per_device: bool = False
) -> Callable[..., Any]:
    def step(params: Params, state: optax.OptState, batch: jax.Array) -> Any:
        def grad_fn(params: Params, i: jax.Array) -> Params:
            del i  # every inner step stays on this batch
            return _gradient(params, batch)

        local = jax.lax.pcast(params, _AXIS, to="varying") if per_device else params
        updates, state = tx.update(_gradient(local, batch), state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    return step


def _compile(
    target: str,
    function: Callable[..., Any],
    mesh: Mesh,
    tx: optax.GradientTransformation | None,
    weights: PartitionSpec = PartitionSpec(),  # noqa: B008  # immutable
) -> Program:
    """Compiles for a mesh; the batch is split over it, matrices are laid out as ``weights``."""

    def abstract(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        spec = weights if x.ndim == 2 else PartitionSpec()
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))

    params = {
        f"layer_{i}": jax.ShapeDtypeStruct((_WIDTH, _WIDTH), jnp.float32) for i in range(_LAYERS)
    }
    state = () if tx is None else (jax.eval_shape(tx.init, params),)
    arguments = jax.tree.map(abstract, (params, *state))
    batch = jax.ShapeDtypeStruct(
        (_BATCH, _WIDTH), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec(_AXIS))
    )
    donated = () if tx is None else (0, 1)
    out = None if tx is None else jax.tree.map(lambda x: x.sharding, arguments)
    traced = jax.jit(function, donate_argnums=donated, out_shardings=out).trace(*arguments, batch)
    compiled = compile_for(target, traced)
    shards = mesh.size if weights else 1
    # Larger than the activations, and not larger than the slices in which a TPU reads weights.
    counts = count(compiled.as_text() or "", min_size=_WIDTH**2 // (8 * shards))
    return Program(counts, temporary_memory(compiled))
