"""Builds the functions and the data of a continual run from its config."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from ml_collections import ConfigDict

from experiments.configs.validation import check_ranges
from experiments.continual.learners import BoundLearner, learner
from experiments.continual.memory import empty
from experiments.continual.meta import divide
from experiments.continual.step import ContinualState, StepConfig, StreamBatch, train_step
from experiments.data.dataset import Examples
from experiments.data.pipeline import padded_batches, steps_per_epoch
from experiments.data.task_stream import TaskStream, epoch_rows
from experiments.methods.method import BoundMethod
from experiments.methods.optimizers import read_optimizer
from experiments.methods.table import method
from experiments.tasks.base import Metrics, Task
from experiments.tasks.table import load_stream, stream_task
from experiments.training.setup import seed_keys
from experiments.training.step import evaluate
from experiments.training.transformations import skip_nonfinite

# Keys of the training config that a continual run does not support, with their only valid value.
_FIXED = {
    "task": "multi_head",
    "switch": (),
    "microbatches": 1,
    "per_device_perturbation": False,
    "shard_weights": False,
    "save_every_steps": None,
    "pretrained": None,
    "label_smoothing": 0.0,
}
_STORE = {"first_epoch": lambda epoch: epoch == 0, "every_epoch": lambda epoch: True}


class ContinualRun(NamedTuple):
    """The functions and the data of a run.

    Attributes:
      config: the config.
      method: the method that descends on the learner's loss.
      learner: the learner, which defines the loss.
      stream: the tasks.
      steps_per_epoch: number of steps of an epoch of each task.
      init: ``() -> ContinualState``.
      step: ``(state, batch) -> (state, metrics)``; the given state is donated.
      evaluate: ``(state, batch) -> summed metrics``.
    """

    config: ConfigDict
    method: BoundMethod
    learner: BoundLearner
    stream: TaskStream
    steps_per_epoch: list[int]
    init: Callable[[], ContinualState]
    step: Callable[[ContinualState, StreamBatch], tuple[ContinualState, Metrics]]
    evaluate: Callable[[ContinualState, Examples], Metrics]

    @property
    def title(self) -> str:
        """The name as the paper writes it: ``ER + SAM``, ``Lookbehind-C-MAML``."""
        title = self.method.title(self.config.optimizer)
        if not self.learner.is_meta:
            return f"{self.learner.row.title} + {title}" if self.config.memory else title
        is_own = method(self.config.method).name == "none"
        return self.learner.row.title if is_own else f"{self.learner.row.title} + {title}"

    def task_of(self, epoch: int) -> int:
        """The task that an epoch of the run trains, both from 0."""
        return epoch // self.config.epochs_per_task

    def batches(self, epoch: int) -> Iterator[StreamBatch]:
        """The batches of an epoch of the run; each is repeated ``glances`` times."""
        task, task_epoch = divmod(epoch, self.config.epochs_per_task)
        train, size = self.stream.train[task], self.config.batch_size
        glances = self.config.glances
        stores = _STORE[self.config.store](task_epoch)
        flags = [jnp.array(stores and glance == glances - 1) for glance in range(glances)]
        for rows in epoch_rows(self.config.seed, task, task_epoch, len(train.labels), size):
            examples = jax.device_put(Examples(train.images[rows], train.labels[rows]))
            for flag in flags:
                yield StreamBatch(examples, flag)

    def evaluation_batches(self, split: str, task: int) -> Iterator[Examples]:
        """The padded batches of a task's examples of a split."""
        examples = self.stream.evaluation[split]
        largest = max(len(each.labels) for each in examples)
        return padded_batches(examples[task], min(self.config.eval_batch_size, largest))


def make_run(config: ConfigDict) -> ContinualRun:
    """Loads the data and builds learner and method.

    Raises:
      ValueError: if a name in the config is unknown or a value invalid.
    """
    _check(config)
    bound_learner = learner(config.learner)
    bound_method = method(config.method)
    _check_method(bound_method, bound_learner)
    dataset, stream = load_stream(config)
    task = stream_task(config, dataset, stream)
    steps = [
        steps_per_epoch(len(train.labels), config.batch_size) * config.glances
        for train in stream.train
    ]
    tx = _transformation(config, bound_method, config.epochs_per_task * sum(steps))
    model = nnx.eval_shape(task.make_model, jax.random.key(0))
    if jax.tree.leaves(nnx.state(model, nnx.BatchStat)):
        raise ValueError(f"model must not have BatchNorm, got {config.model!r}.")
    meta = bound_learner.meta_learner(config.learning_rate) if bound_learner.is_meta else None
    if meta is not None:
        divide(np.arange(config.batch_size), meta.k)  # raises if k does not fit
    step_config = StepConfig(
        task,
        nnx.graphdef(model),
        tx,
        meta,
        # No more than the memory holds: the rest would be padding.
        replay=min(config.replay, config.memory),
        glances=config.glances,
        example_fraction=bound_method.example_fraction,
    )
    return ContinualRun(
        config,
        bound_method,
        bound_learner,
        stream,
        steps,
        init=partial(_init, config, bound_method, task, tx, stream.image_shape),
        step=jax.jit(partial(train_step, step_config), donate_argnums=0),
        evaluate=jax.jit(partial(evaluate, task, step_config.graphdef)),
    )


def _transformation(
    config: ConfigDict, bound: BoundMethod, total_steps: int
) -> optax.GradientTransformationExtraArgs:
    tx = optax.with_extra_args_support(
        bound.build(read_optimizer(config), total_steps, seed=config.seed)
    )
    return skip_nonfinite(tx, config.skip_nonfinite) if config.skip_nonfinite else tx


def _init(
    config: ConfigDict,
    bound: BoundMethod,
    task: Task,
    tx: optax.GradientTransformation,
    image_shape: tuple[int, int, int],
) -> ContinualState:
    """The state before the first step."""
    init_key, draws_key = seed_keys(config.seed)
    model = task.make_model(init_key)
    _, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)  # type: ignore[misc]
    params = bound.row.wrap_params(params)
    return ContinualState(
        params,
        batch_stats,
        tx.init(params),
        draws_key,
        jnp.zeros([], jnp.int32),
        empty(config.memory, image_shape) if config.memory else None,
    )


def abstract_state(run: ContinualRun) -> ContinualState:
    """Shapes, types and placement of the state."""
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(run.init),
    )


def _check(config: ConfigDict) -> None:
    check_ranges(config)
    for key, value in _FIXED.items():
        if config[key] != value:
            raise ValueError(f"{key} must be {value!r} in a continual run, got {config[key]!r}.")
    for key in ("tasks", "classes_per_task", "epochs_per_task", "glances", "replay"):
        if config[key] < 1:
            raise ValueError(f"{key} must be >= 1, got {config[key]}.")
    if config.memory < 0:
        raise ValueError(f"memory must be >= 0, got {config.memory}.")
    if not 0 <= config.brightness <= 1:
        raise ValueError(f"brightness must be in [0, 1], got {config.brightness}.")
    if config.store not in _STORE:
        raise ValueError(f"store must be one of {', '.join(_STORE)}, got {config.store!r}.")
    if config.epochs != config.tasks * config.epochs_per_task:
        raise ValueError(
            f"epochs must be tasks * epochs_per_task = {config.tasks * config.epochs_per_task} "
            f"(the default), got {config.epochs}."
        )


def _check_method(bound: BoundMethod, bound_learner: BoundLearner) -> None:
    if bound.minibatches > 1:
        raise ValueError(
            "switch_minibatch must be false in a continual run, whose steps have one batch; got "
            f"method={str(bound)!r}."
        )
    if bound.example_fraction is not None and bound_learner.is_meta:
        raise ValueError(
            f"learner must be 'er' for the method {bound.name}, which selects examples by their "
            f"loss (a meta loss has no loss per example), got {bound_learner.name!r}."
        )
