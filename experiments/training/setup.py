"""Builds the functions and the data of a run from its config."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from experiments.configs.lookup import look_up
from experiments.configs.validation import check_ranges
from experiments.data.pipeline import Pipeline
from experiments.methods.method import BoundMethod
from experiments.methods.optimizers import optimizer
from experiments.methods.table import method
from experiments.parallel import microbatches
from experiments.parallel.mesh import make_mesh, state_sharding, to_devices
from experiments.tasks.base import Task
from experiments.tasks.table import TASKS
from experiments.training.loop import Trainer
from experiments.training.method_switch import convert_state, methods_by_epoch
from experiments.training.state import TrainState, weights_of
from experiments.training.step import StepConfig, evaluate, skip_nonfinite, train_step

Tree = TypeVar("Tree")
Load = Callable[[nnx.Module], None]  # fills pretrained weights into a model

_STEPS = 1 << 31  # fold_in constant that separates the keys of the steps from those of the weights


def make_run(config: ConfigDict, mesh: Mesh | None = None) -> tuple[list[Trainer], Pipeline]:
    """Returns the trainer of each epoch, and the data.

    Args:
      config: the config.
      mesh: the devices to use, by default all.

    Raises:
      ValueError: if a name in the config is unknown or a value invalid.
    """
    check_ranges(config)
    methods = methods_by_epoch(config)
    optimizer(config, steps=1)  # raises for an unknown optimizer or schedule
    mesh = make_mesh() if mesh is None else mesh
    task, pipeline = make_task(config, mesh)
    _check_patience(config, pipeline)
    trainers = {
        text: make_trainer(config, text, task, pipeline.steps_per_epoch, mesh)
        for text in dict.fromkeys(methods)
    }
    return [trainers[text] for text in methods], pipeline


def make_task(config: ConfigDict, mesh: Mesh) -> tuple[Task, Pipeline]:
    """Returns the task and the data; errors as in :func:`make_run`."""
    check_ranges(config)  # before the data is opened, which can take long
    microbatches.check_parts(
        config.microbatches, config.per_device_perturbation, config.shard_weights
    )
    _, order_key = seed_keys(config.seed)
    build = look_up("task", config.task, TASKS)
    return build(config, mesh, order_key, _num_minibatches(config))


def make_trainer(
    config: ConfigDict, method_text: str, task: Task, steps_per_epoch: int, mesh: Mesh
) -> Trainer:
    """Returns the compiled functions that train with one of the config's methods."""
    bound = method(method_text)
    tx = make_transformation(config, bound, config.epochs * steps_per_epoch)
    num_parts, per_device = config.microbatches, config.per_device_perturbation
    sharding = partial(state_sharding, mesh, config.shard_weights)

    def constrain(tree: Tree) -> Tree:
        return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, sharding(x)), tree)

    step_config = StepConfig(
        task,
        graphdef=nnx.graphdef(nnx.eval_shape(task.make_model, jax.random.key(0))),
        tx=tx,
        map_over_parts=lambda update: microbatches.map_over_parts(
            update, mesh, num_parts, per_device, example_axis=1 if bound.minibatches > 1 else 0
        ),
        axis_name=microbatches.axis_name(num_parts, per_device),
        num_minibatches=bound.minibatches,
        example_fraction=bound.example_fraction,
        constrain=constrain if config.shard_weights else lambda tree: tree,
    )
    wrap_params = bound.row.wrap_params

    def make_state(key: jax.Array, load: Load | None = None) -> TrainState:
        model = task.make_model(key)
        if load is not None:
            load(model)
        _, weights, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)  # type: ignore[misc]
        params = wrap_params(weights)
        state = TrainState(params, batch_stats, tx.init(params), jax.random.fold_in(key, _STEPS))
        if config.patience is None:
            return state
        return state._replace(best=jax.tree.map(jnp.copy, state))  # a step donates the state

    def init(key: jax.Array, load: Load | None = None) -> TrainState:
        if config.shard_weights and load is None:  # no device needs to hold all weights
            shardings = jax.tree.map(sharding, jax.eval_shape(make_state, key))
            return jax.jit(make_state, out_shardings=shardings)(key)
        # Not compiled: compiling takes longer than running it op by op.
        state = make_state(key, load)
        return to_devices(state, jax.tree.map(sharding, state))

    def measure(state: TrainState) -> Mapping[str, float] | None:
        model = nnx.merge(step_config.graphdef, weights_of(state), state.batch_stats)
        model.eval()
        return task.measure(model)

    def switch_method(state: TrainState, num_steps: int) -> TrainState:
        state = convert_state(tx, wrap_params, bound.optimizer_calls, state, num_steps)
        return constrain(state)

    return Trainer(
        title=bound.title(config.optimizer),
        init=init,
        switch_method=jax.jit(switch_method),
        step=jax.jit(partial(train_step, step_config), donate_argnums=0),
        evaluate=jax.jit(partial(evaluate, task, step_config.graphdef)),
        measure=measure,
        score=task.score,
        sharding=sharding,
    )


def make_transformation(
    config: ConfigDict, bound: BoundMethod, total_steps: int
) -> optax.GradientTransformationExtraArgs:
    """Returns the gradient transformation of a run: the method, and skipping if configured."""
    tx = optax.with_extra_args_support(bound.build(config, total_steps))
    return skip_nonfinite(tx, config.skip_nonfinite) if config.skip_nonfinite else tx


def abstract_state(trainer: Trainer) -> TrainState:
    """Shapes, types and shardings of a trainer's state."""
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=trainer.sharding(x)), state
    )


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


def _num_minibatches(config: ConfigDict) -> int:
    """Number of minibatches of a training step, the same for all methods of a run."""
    numbers = {text: method(text).minibatches for text in methods_by_epoch(config)}
    if len(set(numbers.values())) > 1:
        raise ValueError(
            "switch must be between methods that take the same number of minibatches per step, "
            f"got {numbers}."
        )
    return next(iter(numbers.values()))
