"""Builds the functions and the data of a run from its config."""

from pathlib import Path

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from experiments.configs.lookup import look_up
from experiments.configs.validation import check_ranges
from experiments.data.pipeline import Pipeline
from experiments.methods.optimizers import read_optimizer
from experiments.parallel.mesh import make_mesh
from experiments.parallel.microbatches import read_parts
from experiments.tasks.base import Task
from experiments.tasks.table import TASKS
from experiments.training.phases import read_phases
from experiments.training.trainer import Trainer, make_trainer


def make_run(config: ConfigDict, mesh: Mesh | None = None) -> tuple[Trainer, Pipeline]:
    """Returns the trainer and the data.

    Args:
      config: the config.
      mesh: the devices to use, by default all.

    Raises:
      ValueError: if a name in the config is unknown or a value invalid.
    """
    mesh = make_mesh() if mesh is None else mesh
    # All strings are parsed here, before the data is opened, which can take long.
    check_ranges(config)
    if config.pretrained and not Path(config.pretrained).exists():
        raise FileNotFoundError(
            f"pretrained must be a .npz file or the workdir of a run, got {config.pretrained!r}."
        )
    phases, base, parts = read_phases(config), read_optimizer(config), read_parts(config, mesh)
    num_minibatches = phases[0].method.minibatches  # the same in all phases
    task, pipeline = make_task(config, mesh, num_minibatches)
    _check_patience(config, pipeline)
    total_steps = pipeline.steps(config.epochs)
    trainer = make_trainer(config, task, total_steps, phases, base, parts, mesh)
    return trainer, pipeline


def make_task(config: ConfigDict, mesh: Mesh, num_minibatches: int) -> tuple[Task, Pipeline]:
    """Returns the task and the data, with ``num_minibatches`` minibatches in each training step."""
    _, order_key = seed_keys(config.seed)
    return look_up("task", config.task, TASKS)(config, mesh, order_key, num_minibatches)


def seed_keys(seed: int) -> tuple[jax.Array, jax.Array]:
    """The keys of the initial state and of the order of the examples."""
    init_key, order_key = jax.random.split(jax.random.key(seed))
    return init_key, order_key


def _check_patience(config: ConfigDict, pipeline: Pipeline) -> None:
    if config.patience is None:
        return
    if "val" not in pipeline.evaluation:
        raise ValueError(
            f"patience must be None without a validation set (validation=0), got {config.patience}."
        )
    if config.switch:
        raise ValueError(f"patience must be None with switch, got {config.patience}.")
