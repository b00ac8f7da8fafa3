"""Learning one task of a stream after the other: the learner's loss, with replayed examples."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from experiments.data.dataset import Examples
from experiments.data.pipeline import Pipeline
from experiments.data.task_stream import StreamBatch, TaskStream, stream_pipeline
from experiments.methods.table import method
from experiments.tasks.base import Metrics, Task
from experiments.tasks.continual.learners import learner
from experiments.tasks.continual.memory import Memory, empty, push, sample
from experiments.tasks.continual.meta import MetaLearner, Params, divide, meta_loss

# fold_in constants: a purpose has keys of its own, so that replay changes neither the images nor
# what is stored.
_AUGMENTATION, _REPLAY, _STORE, _ORDER, _DROPOUT = range(5)

# Keys of the config that the learners do not support, with their only valid value.
_FIXED = {
    "switch": (),
    "microbatches": 1,
    "per_device_perturbation": False,
    "shard_weights": False,
    "pretrained": None,
    "patience": None,
    "label_smoothing": 0.0,
    "eval_every": 1,  # all tasks are evaluated after the last epoch of each
}
_STORE_EPOCHS = {"first_epoch": lambda epoch: epoch == 0, "every_epoch": lambda epoch: True}


class ReplayBatch(NamedTuple):
    """What a step learns from.

    Attributes:
      current: examples of the current task, augmented.
      joint: these and the replayed ones.
      number: number of the step within the run, from 0.
    """

    current: Examples
    joint: Examples
    number: jax.Array


def continual(
    task: Task,
    key: jax.Array,
    make_memory: Callable[[], Memory | None],
    *,
    meta: MetaLearner | None = None,
    replay: int = 0,
    glances: int = 1,
) -> Task:
    """Returns ``task`` on the batches of a stream, :class:`StreamBatch`, with a replay memory.

    All draws follow from the key and the number of the step.

    Args:
      task: model, loss and evaluation of :class:`Examples`.
      key: PRNG key of the run.
      make_memory: ``() -> memory`` before the first step; of None for none.
      meta: options of the meta learner; None for plain training.
      replay: number of replayed examples of a step.
      glances: number of steps in a row on the same batch.
    """

    def key_of(purpose: int, number: jax.Array | int = 0) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(key, purpose), number)

    def augment(draw: jax.Array, batch: StreamBatch) -> StreamBatch:
        del draw  # all glances at a batch see the same images
        augmentation_key = key_of(_AUGMENTATION, batch.number // glances)
        return batch._replace(examples=task.augment(augmentation_key, batch.examples))

    def replayed(memory: Memory | None, batch: StreamBatch) -> tuple[ReplayBatch, Memory | None]:
        current, number = batch.examples, batch.number
        if memory is None:
            return ReplayBatch(current, current, number), None
        past = sample(memory, key_of(_REPLAY, number), replay)
        joint = jax.tree.map(lambda *x: jnp.concatenate(x), current, past)
        memory = push(memory, key_of(_STORE), current, batch.store)
        return ReplayBatch(current, joint, number), memory

    def loss(
        model: nnx.Module, batch: ReplayBatch, step_key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        del step_key
        dropout_key = key_of(_DROPOUT, batch.number)
        if meta is None:
            return task.loss(model, batch.joint, dropout_key)
        graphdef, params, rest = nnx.split(model, nnx.Param, ...)  # type: ignore[misc]

        def loss_at(params: Params, examples: Examples) -> tuple[jax.Array, Metrics]:
            return task.loss(nnx.merge(graphdef, params, rest), examples, dropout_key)

        order_key = key_of(_ORDER, batch.number)
        rows = jax.random.permutation(order_key, len(batch.current.labels))
        parts: Sequence[Examples] = divide(jax.tree.map(lambda x: x[rows], batch.current), meta.k)
        return meta_loss(meta, loss_at, params, parts, batch.joint)

    def example_losses(model: nnx.Module, batch: ReplayBatch, step_key: jax.Array) -> jax.Array:
        del step_key
        return task.example_losses(model, batch.joint, key_of(_DROPOUT, batch.number))

    return task._replace(
        loss=loss,
        example_losses=example_losses,
        augment=augment,
        make_memory=make_memory,
        replay=replayed,
    )


def make_continual(
    config: ConfigDict, task: Task, stream: TaskStream, mesh: Mesh, key: jax.Array
) -> tuple[Task, Pipeline]:
    """Returns the task and the data of a lifelong run.

    Args:
      config: the config, which :func:`check` has passed.
      task: the task of classifying the images of the stream.
      stream: the tasks.
      mesh: the devices, each of which computes the whole step.
      key: PRNG key of the run.
    """
    model = nnx.eval_shape(task.make_model, jax.random.key(0))
    if jax.tree.leaves(nnx.state(model, nnx.BatchStat)):
        raise ValueError(f"model must not have BatchNorm, got {config.model!r}.")
    pipeline = stream_pipeline(
        stream,
        mesh,
        config.seed,
        batch_size=config.batch_size,
        eval_batch_size=config.eval_batch_size,
        epochs_per_task=config.epochs_per_task,
        glances=config.glances,
        stores=_STORE_EPOCHS[config.store],
    )
    learns = learner(config.learner)
    return continual(
        task,
        key,
        partial(empty, config.memory, stream.image_shape) if config.memory else task.make_memory,
        meta=learns.meta_learner(config.learning_rate) if learns.is_meta else None,
        # No more than the memory holds: the rest would be padding.
        replay=min(config.replay, config.memory),
        glances=config.glances,
    ), pipeline


def check(config: ConfigDict) -> None:
    """Raises ValueError if a value of a lifelong run's config is invalid."""
    for key, value in _FIXED.items():
        if config[key] != value:
            raise ValueError(
                f"{key} must be {value!r} with learner={config.learner!r}, got {config[key]!r}."
            )
    for key in ("tasks", "classes_per_task", "epochs_per_task", "glances", "replay"):
        if config[key] < 1:
            raise ValueError(f"{key} must be >= 1, got {config[key]}.")
    if config.memory < 0:
        raise ValueError(f"memory must be >= 0, got {config.memory}.")
    if not 0 <= config.brightness <= 1:
        raise ValueError(f"brightness must be in [0, 1], got {config.brightness}.")
    if config.store not in _STORE_EPOCHS:
        valid = ", ".join(_STORE_EPOCHS)
        raise ValueError(f"store must be one of {valid}, got {config.store!r}.")
    if config.epochs != config.tasks * config.epochs_per_task:
        raise ValueError(
            f"epochs must be tasks * epochs_per_task = {config.tasks * config.epochs_per_task} "
            f"(the default), got {config.epochs}."
        )
    learns, bound = learner(config.learner), method(config.method)
    if bound.minibatches > 1:
        raise ValueError(
            "switch_minibatch must be false in a lifelong run, whose steps have one batch; got "
            f"method={str(bound)!r}."
        )
    if not learns.is_meta:
        return
    divide(np.arange(config.batch_size), learns.arguments["k"])  # raises if k does not fit
    if bound.example_fraction is not None:
        raise ValueError(
            f"learner must be 'er' for the method {bound.name}, which selects examples by their "
            f"loss (a meta loss has no loss per example), got {learns.name!r}."
        )
