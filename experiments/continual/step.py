"""One step of a continual learner, as a pure function of the state and a batch."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import optax_lookbehind as ol
from experiments.continual.memory import Memory, push, sample
from experiments.continual.meta import (
    MetaLearner,
    Params,
    divide,
    meta_loss,
)
from experiments.data.dataset import Examples
from experiments.tasks.base import Metrics, Task
from experiments.training.state import fast_weights_of
from experiments.training.step import method_metrics
from experiments.training.transformations import SkipNonfiniteState

# fold_in constants: a purpose has keys of its own, so that replay changes neither the images nor
# what is stored.
_AUGMENTATION, _REPLAY, _STORE, _ORDER, _DROPOUT = range(5)


class StreamBatch(NamedTuple):
    """A batch of the current task.

    Attributes:
      examples: images and labels.
      store: whether to offer them to the memory after the step.
    """

    examples: Examples
    store: jax.Array


class ContinualState(NamedTuple):
    """Everything that a step changes, except for ``key``.

    Attributes:
      params: optimizer parameters: the weights, or ``optax.LookaheadParams`` of fast and slow ones.
      batch_stats: empty, as the models have no BatchNorm.
      opt_state: the optimizer's state.
      key: PRNG key of the run.
      count: number of steps taken, int32.
      memory: the replay memory; None for none.
    """

    params: optax.Params
    batch_stats: nnx.State
    opt_state: optax.OptState
    key: jax.Array
    count: jax.Array  # type: ignore[assignment]  # as in optax: hides tuple.count
    memory: Memory | None


class StepConfig(NamedTuple):
    """Static inputs of a step.

    Attributes:
      task: model, loss and evaluation.
      graphdef: the model without its arrays.
      tx: gradient to update; its ``update`` takes a ``grad_fn``.
      meta: options of the meta learner; None for plain training.
      replay: number of replayed examples of a step.
      glances: number of steps in a row on the same batch.
      example_fraction: fraction of the examples that perturbed gradients are taken on (ESAM); None
        for all.
    """

    task: Task
    graphdef: nnx.GraphDef
    tx: optax.GradientTransformationExtraArgs
    meta: MetaLearner | None
    replay: int
    glances: int
    example_fraction: float | None


def train_step(
    config: StepConfig, state: ContinualState, batch: StreamBatch
) -> tuple[ContinualState, Metrics]:
    """Augments and replays, descends on the learner's loss, and stores the batch."""
    # All glances at a batch see the same images.
    augmentation_key = _key(state.key, _AUGMENTATION, state.count // config.glances)
    current = config.task.augment(augmentation_key, batch.examples)
    joint = current
    if state.memory is not None:
        replayed = sample(state.memory, _key(state.key, _REPLAY, state.count), config.replay)
        joint = jax.tree.map(lambda *x: jnp.concatenate(x), current, replayed)

    dropout_key = _key(state.key, _DROPOUT, state.count)

    def loss(params: Params, examples: Examples) -> tuple[jax.Array, Metrics]:
        return config.task.loss(_model(config, state, params), examples, dropout_key)

    params = fast_weights_of(state.params)
    objective: Callable[[Params], tuple[jax.Array, Metrics]] = partial(loss, examples=joint)
    if config.meta is not None:
        order_key = _key(state.key, _ORDER, state.count)
        rows = jax.random.permutation(order_key, len(batch.examples.labels))
        parts = divide(jax.tree.map(lambda x: x[rows], current), config.meta.k)
        objective = partial(meta_loss, config.meta, loss, parts=parts, meta_batch=joint)

    def grad_fn(params: Params, i: jax.Array) -> optax.Updates:
        del i  # every inner step of the method stays on this batch
        return jax.grad(objective, has_aux=True)(params)[0]

    perturbed_grad_fn: Callable[..., optax.Updates] = grad_fn
    if config.example_fraction is not None:
        perturbed_grad_fn = ol.sharpest_examples_grad_fn(
            lambda params: config.task.example_losses(
                _model(config, state, params), joint, dropout_key
            ),
            params,
            config.example_fraction,
        )
    (value, metrics), grads = jax.value_and_grad(objective, has_aux=True)(params)
    updates, opt_state = config.tx.update(
        grads, state.opt_state, state.params, grad_fn=perturbed_grad_fn
    )
    metrics = {"loss": value} | metrics | method_metrics(state.opt_state, opt_state)
    if isinstance(opt_state, SkipNonfiniteState):
        metrics |= {"skipped": opt_state.skipped}
    memory = state.memory
    if memory is not None:
        memory = push(memory, _key(state.key, _STORE), current, batch.store)
    return state._replace(
        params=optax.apply_updates(state.params, updates),
        opt_state=opt_state,
        count=state.count + 1,
        memory=memory,
    ), metrics


def _model(config: StepConfig, state: ContinualState, params: Params) -> nnx.Module:
    return nnx.merge(config.graphdef, params, state.batch_stats)


def _key(key: jax.Array, purpose: int, number: jax.Array | int = 0) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(key, purpose), number)
