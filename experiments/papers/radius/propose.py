"""The proposed rho of a task: after an epoch of the base optimizer, from three minibatches."""

import json
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from experiments.configs.base import with_changes
from experiments.parallel.mesh import make_mesh
from experiments.storage import disk
from experiments.train import initial_state
from experiments.training.setup import make_run, make_task
from optax_lookbehind import sharpness

MINIBATCHES = 3


class Proposal(NamedTuple):
    """The proposals of several seeds.

    Attributes:
      rho: their geometric mean, to two digits.
      seeds: seed -> the fields of its ``sharpness.RhoProposal``.
    """

    rho: float
    seeds: dict[str, dict[str, Any]]


def propose(config: ConfigDict, seeds: tuple[int, ...]) -> Proposal:
    """The proposals for a config without a method, each seed with its own data and weights."""
    found = {str(seed): _propose(_with_seed(config, seed)) for seed in seeds}
    mean = np.exp(np.mean([np.log(each.rho) for each in found.values()]))
    fields = {
        seed: {key: np.asarray(value).tolist() for key, value in each._asdict().items()}
        for seed, each in found.items()
    }
    return Proposal(float(f"{mean:.2g}"), fields)


def _with_seed(config: ConfigDict, seed: int) -> ConfigDict:
    return with_changes(config, {"seed": seed, "data_seed": seed})


def _propose(config: ConfigDict) -> sharpness.RhoProposal:
    """The proposal for the weights after the first epoch, from the next minibatches."""
    mesh = make_mesh(1)
    trainer, pipeline = make_run(config, mesh)
    state = initial_state(config, trainer)
    batches = chain.from_iterable(pipeline.train(0))
    for batch in islice(batches, pipeline.steps(1)):
        state, _ = trainer.phases[0].step(state, batch)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *islice(batches, MINIBATCHES))
    task, _ = make_task(config, mesh, 1)
    graphdef = nnx.graphdef(nnx.eval_shape(task.make_model, jax.random.key(0)))

    def loss_fn(params: nnx.State, batch: Any) -> jax.Array:
        model = nnx.merge(graphdef, params, state.batch_stats, copy=True)
        model.train()
        return task.loss(model, batch, jax.random.key(0))[0]

    return sharpness.propose_rho(loss_fn, state.params, stacked)


def write(file: Path, proposal: Proposal) -> None:
    """Writes a proposal with its reasons."""
    disk.write_text(file, json.dumps(proposal._asdict(), indent=1) + "\n")


def read(file: Path) -> Proposal:
    """Reads a proposal."""
    return Proposal(**json.loads(file.read_text(encoding="utf-8")))
