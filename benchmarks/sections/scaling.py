"""Time and all-reduces of a step on several devices, here virtual ones on one processor.

Each number of devices needs a process of its own: this file is both the section and that process.
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
from benchmarks.all_reduces import count_all_reduces
from benchmarks.machine import keep_freed_memory
from benchmarks.report import Row, Table
from benchmarks.sections.step_time import RHO, SGD
from benchmarks.setups import LAPTOP, Setup
from benchmarks.timing import interleaved

Method = Callable[..., optax.GradientTransformationExtraArgs]
Compiled = tuple[jax.stages.Compiled, jobs.State]

_AXIS = "data"
_METHODS = {
    "SAM": partial(ol.sam, RHO),
    "Lookbehind-SAM, k = 2": partial(ol.lookbehind_sam, 2, RHO, "adaptive"),
}
_SYNC, _OWN, _JIT = "shard_map", "shard_map, sync_perturbation=False", "jit, sharded batch"


def measure(setup: Setup) -> Table:
    """SAM and Lookbehind on 1, 2, 4 and 8 virtual devices: more devices, the same batch."""
    if jax.default_backend() != "cpu":
        setup = LAPTOP
    rows = [row for devices in (1, 2, 4, 8) for row in _in_subprocess(devices, setup)]
    return Table(
        f"Steps of the ViT on virtual CPU devices, one batch of {setup.batch} split among them",
        rows,
        "The devices share the machine's cores: two of them can use two cores better than one "
        "does, more than there are cores show what splitting costs. All-reduces are counted in the "
        "compiled program, those in loops as often as the loop turns; one all-reduce averages all "
        "leaves of a gradient.",
    )


def _in_subprocess(devices: int, setup: Setup) -> list[Row]:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "benchmarks.scaling", json.dumps(setup)]
    process = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(process.stdout)


def _measure_here(setup: Setup) -> list[Row]:
    """All methods on all devices of this process."""
    # Auto: the models leave the sharding of their activations to the compiler.
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((jax.device_count(),), (_AXIS,), axis_types=auto)
    job = jobs.create(setup.models()["ViT"], setup)
    batch = jax.device_put(job.batch, NamedSharding(mesh, PartitionSpec(_AXIS)))
    job = job._replace(batch=batch)
    compiled = {
        (name, how): _compile(job, method, how, mesh)
        for name, method in _METHODS.items()
        for how in (_SYNC, _OWN, _JIT)
    }
    runs = {key: jobs.advance(step, state, batch) for key, (step, state) in compiled.items()}
    seconds = interleaved(runs, setup.rounds)
    return [
        {
            "devices": jax.device_count(),
            "method": name,
            "how": how,
            "all-reduces": count_all_reduces(step.as_text()),
            "ms": 1e3 * np.median(seconds[name, how]),
        }
        for (name, how), (step, _) in compiled.items()
    ]


def _compile(job: jobs.Job, method: Method, how: str, mesh: jax.sharding.Mesh) -> Compiled:
    """The compiled step and its first state, with copies of the weights on every device."""
    everywhere, split = PartitionSpec(), PartitionSpec(_AXIS)
    if how == _JIT:
        tx = optax.chain(method(), SGD)
        step = jobs.training_step(job, tx)
    else:
        tx = optax.chain(method(axis_name=_AXIS, sync_perturbation=how == _SYNC), SGD)
        step = jax.shard_map(
            jobs.training_step(job, tx, _AXIS),
            mesh=mesh,
            in_specs=(everywhere, split),
            out_specs=everywhere,
        )
    copies = NamedSharding(mesh, everywhere)
    state = jax.device_put(jobs.first_state(job, tx), copies)
    step = jax.jit(step, donate_argnums=0, out_shardings=copies)
    return step.lower(state, job.batch).compile(), state


if __name__ == "__main__":
    keep_freed_memory()
    print(json.dumps(_measure_here(Setup(*json.loads(sys.argv[1])))))
