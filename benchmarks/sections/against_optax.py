"""Comparison with ``optax.contrib.sam``, which unrolls its inner steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_lookbehind as ol
from benchmarks import job as jobs
from benchmarks.sections.compilation import compile_step
from benchmarks.sections.step_time import RHO, SGD
from benchmarks.setups import Setup
from benchmarks.tables import Row, Table
from benchmarks.timing import interleaved

_STEPS = 5


def measure(setup: Setup) -> Table:
    """Measures the same algorithm in both packages, for several numbers of ascent steps."""
    job = jobs.make_job(setup.models()["ResNet"], setup)
    return Table(
        "Against optax.contrib.sam (opaque mode) on the ResNet",
        [_compare(job, k, setup.rounds) for k in setup.ks],
        "Ratios are ours over theirs: below 1, this package is faster. The difference is the "
        f"largest between two weights, in {setup.compute}: rounding errors, amplified by training. "
        "(A test compares the two packages in float64.)",
    )


def _compare(job: jobs.Job, k: int, rounds: int) -> Row:
    ours = optax.chain(ol.multistep_sam(k, RHO), SGD)
    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(RHO))
    theirs = optax.contrib.sam(SGD, ascent, sync_period=k + 1, opaque_mode=True)

    our_step, our_compilation = compile_step(job, ours)
    their_step, their_compilation = compile_step(job, theirs)

    def difference(steps: int) -> float:
        states = _train(job, our_step, ours, steps), _train(job, their_step, theirs, steps)
        return float(optax.tree.norm(optax.tree.sub(*states), ord=jnp.inf))

    seconds = interleaved(
        {
            "ours": jobs.advance(our_step, jobs.initial_state(job, ours), job.batch),
            "theirs": jobs.advance(their_step, jobs.initial_state(job, theirs), job.batch),
        },
        rounds,
    )
    return {
        "ascent steps": k,
        "step, ms": 1e3 * np.median(seconds["ours"]),
        "theirs, ms": 1e3 * np.median(seconds["theirs"]),
        "step over theirs": np.median(seconds["ours"] / seconds["theirs"]),
        "compile, s": our_compilation,
        "theirs, s": their_compilation,
        "compile over theirs": our_compilation / their_compilation,
        "difference after a step": difference(1),
        f"after {_STEPS} steps": difference(_STEPS),
    }


def _train(
    job: jobs.Job, step: jax.stages.Compiled, tx: optax.GradientTransformation, steps: int
) -> optax.Params:
    state = jobs.initial_state(job, tx)
    for _ in range(steps):
        state = step(state, job.batch)
    return state.params
