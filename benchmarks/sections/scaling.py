"""Time and all-reduces of a step on several virtual CPU devices.

The number of devices is fixed per process: this module is also the program of the subprocesses.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

import optax_lookbehind as ol
from benchmarks import job as jobs
from benchmarks.hlo import count_all_reduces
from benchmarks.machine import keep_freed_memory
from benchmarks.sections.step_time import RHO, SGD
from benchmarks.setups import LAPTOP, Setup
from benchmarks.tables import Row, Table
from benchmarks.timing import interleaved

Method = Callable[..., optax.GradientTransformationExtraArgs]
Compiled = tuple[jax.stages.Compiled, jobs.State]

_AXIS = "data"
_METHODS = {
    "SAM": partial(ol.sam, RHO),
    "Lookbehind-SAM, k = 2": partial(ol.lookbehind_sam, 2, RHO, "adaptive"),
}
_SYNCED, _UNSYNCED, _JIT = "shard_map", "shard_map, sync_perturbation=False", "jit, sharded batch"


def measure(setup: Setup) -> Table:
    """Measures SAM and Lookbehind on 1, 2, 4 and 8 virtual devices, with a fixed global batch."""
    if jax.default_backend() != "cpu":
        setup = LAPTOP
    rows = [row for devices in (1, 2, 4, 8) for row in _in_subprocess(devices, setup)]
    return Table(
        f"Steps of the ViT on virtual CPU devices, global batch of {setup.batch}",
        rows,
        "The devices share the cores of the machine: two devices use two cores better than one "
        "device does; beyond the number of cores the times show the cost of splitting. All-reduces "
        "are counted in the compiled program, those in loops once per iteration; one all-reduce "
        "averages all leaves of a gradient.",
    )


def _in_subprocess(devices: int, setup: Setup) -> list[Row]:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "benchmarks.sections.scaling", json.dumps(setup)]
    process = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(process.stdout)


def _measure_here(setup: Setup) -> list[Row]:
    """Measures all methods on all devices of this process."""
    # Auto: the compiler chooses the sharding of the activations.
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((jax.device_count(),), (_AXIS,), axis_types=auto)
    job = jobs.make_job(setup.models()["ViT"], setup)
    batch = jax.device_put(job.batch, NamedSharding(mesh, PartitionSpec(_AXIS)))
    job = job._replace(batch=batch)
    compiled = {
        (name, mapping): _compile(job, method, mapping, mesh)
        for name, method in _METHODS.items()
        for mapping in (_SYNCED, _UNSYNCED, _JIT)
    }
    runs = {key: jobs.advance(step, state, batch) for key, (step, state) in compiled.items()}
    seconds = interleaved(runs, setup.rounds)
    return [
        {
            "devices": jax.device_count(),
            "method": name,
            "mapping": mapping,
            "all-reduces": count_all_reduces(step.as_text() or ""),
            "ms": 1e3 * np.median(seconds[name, mapping]),
        }
        for (name, mapping), (step, _) in compiled.items()
    ]


def _compile(job: jobs.Job, method: Method, mapping: str, mesh: jax.sharding.Mesh) -> Compiled:
    """The compiled step and its initial state, with weights replicated on all devices."""
    replicated, sharded = PartitionSpec(), PartitionSpec(_AXIS)
    if mapping == _JIT:
        tx = optax.chain(method(), SGD)
        step = jobs.training_step(job, tx)
    else:
        tx = optax.chain(method(axis_name=_AXIS, sync_perturbation=mapping == _SYNCED), SGD)
        step = jax.shard_map(
            jobs.training_step(job, tx, _AXIS),
            mesh=mesh,
            in_specs=(replicated, sharded),
            out_specs=replicated,
        )
    replicated_sharding = NamedSharding(mesh, replicated)
    state = jax.device_put(jobs.initial_state(job, tx), replicated_sharding)
    step = jax.jit(step, donate_argnums=0, out_shardings=replicated_sharding)
    return step.lower(state, job.batch).compile(), state


if __name__ == "__main__":
    keep_freed_memory()
    print(json.dumps(_measure_here(Setup(*json.loads(sys.argv[1])))))
