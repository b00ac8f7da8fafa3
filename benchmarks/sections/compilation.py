"""Compile time and memory of a training step, which should not grow with k."""

import time

import jax
import numpy as np
import optax

import optax_lookbehind as ol
from benchmarks import job as jobs
from benchmarks.sections.step_time import RHO, SGD
from benchmarks.setups import Setup
from benchmarks.tables import Row, Table

_KS = (2, 5, 20, 50)
_ROUNDS = 3


def measure(setup: Setup) -> Table:
    """Measures Lookbehind with adaptive alpha, the method with the most buffers, on both models."""
    rows = [
        row
        for name, model in setup.models().items()
        for row in _measure_model(name, jobs.make_job(model, setup))
    ]
    return Table(
        "Compile time and memory of a Lookbehind-SAM step",
        rows,
        f"Time to trace, lower and compile the whole training step without caches; medians of "
        f"{_ROUNDS}. Memory is the temporary memory planned by the compiler, without the donated "
        "training state.",
    )


def compile_step(
    job: jobs.Job, tx: optax.GradientTransformationExtraArgs
) -> tuple[jax.stages.Compiled, float]:
    """The compiled training step, and the seconds to trace, lower and compile it."""
    jax.clear_caches()  # otherwise later compilations would hit this one's trace cache
    start = time.perf_counter()
    compiled = jobs.lower_step(job, tx).compile()
    return compiled, time.perf_counter() - start


def temporary_memory(compiled: jax.stages.Compiled) -> int:
    """The temporary memory planned by the compiler, in bytes."""
    analysis = compiled.memory_analysis()
    assert analysis is not None  # all backends of XLA have it
    return analysis.temp_size_in_bytes


def _measure_model(model: str, job: jobs.Job) -> list[Row]:
    seconds: dict[int, list[float]] = {k: [] for k in _KS}
    temporary = {}
    for _ in range(_ROUNDS):
        for k in _KS:
            tx = optax.chain(ol.lookbehind_sam(k, RHO, "adaptive"), SGD)
            compiled, elapsed = compile_step(job, tx)
            seconds[k].append(elapsed)
            temporary[k] = temporary_memory(compiled)
    first = _KS[0]
    return [
        {
            "model": model,
            "k": k,
            "compile, s": np.median(seconds[k]),
            f"compile over k = {first}": np.median(np.divide(seconds[k], seconds[first])),
            "memory, MB": temporary[k] / 1e6,
            f"memory over k = {first}": temporary[k] / temporary[first],
        }
        for k in _KS
    ]
