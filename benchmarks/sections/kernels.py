"""Kernels of ResNet-18 steps, compiled for a GPU but not run: models of many small arrays."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks import job as jobs
from benchmarks.hlo import count
from benchmarks.sections.compilation import temporary_memory
from benchmarks.sections.compiled import METHODS
from benchmarks.sections.step_time import SGD
from benchmarks.setups import ACCELERATOR, Setup
from benchmarks.tables import Row, Table
from benchmarks.targets import compile_for, devices, is_available

_TARGET = "H200"


def measure(setup: Setup) -> Table:
    """Compiles every method on ResNet-18; the result does not depend on the machine."""
    del setup
    title = f"Kernels of ResNet-18 steps for an {_TARGET}, compiled and not run"
    if not is_available(_TARGET):
        return Table(title, [], f"The compiler for {_TARGET} is not installed: not compiled.")
    job = jobs.make_job(ACCELERATOR.models()["ResNet"], ACCELERATOR)
    gradient, _ = _compile(
        jax.grad(job.loss, has_aux=True), job.params, job.rest, job.batch, donate=()
    )
    programs = {}
    for name, method in METHODS.items():
        tx = optax.chain(method.make(), SGD)
        state = jax.eval_shape(lambda tx=tx: jobs.initial_state(job, tx))
        programs[name] = _compile(jobs.training_step(job, tx), state, job.batch, donate=(0,))
    sgd, memory = programs["SGD"]
    rows: list[Row] = []
    for name, (kernels, step_memory) in programs.items():
        extra_gradients = METHODS[name].gradients - 1
        extra = kernels - sgd - extra_gradients * gradient
        rows.append(
            {
                "step": name,
                "gradients": METHODS[name].gradients,
                "kernels": kernels,
                "extra": extra,
                "extra per gradient": extra / extra_gradients if extra_gradients else 0,
                "memory, MB": (step_memory - memory) / 1e6,
            }
        )
    arrays = len(jax.tree.leaves(job.params))
    return Table(
        title,
        rows,
        f"One device, bfloat16, batch {ACCELERATOR.batch}, {arrays} arrays of weights, jax "
        f"{jax.__version__}. A gradient is {gradient} kernels. Extra: kernels besides those of the "
        "gradients and of SGD with momentum; memory: temporary memory in addition to SGD's.",
    )


def _compile(
    function: Callable[..., Any], *arguments: Any, donate: tuple[int, ...]
) -> tuple[int, int]:
    """Kernels and temporary memory of a function compiled for one device."""
    mesh = Mesh(np.array(devices(_TARGET)[:1]), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec())
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), arguments
    )
    compiled = compile_for(_TARGET, jax.jit(function, donate_argnums=donate).trace(*abstract))
    return count(compiled.as_text() or "").kernels, temporary_memory(compiled)
