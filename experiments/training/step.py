"""One step of training and evaluation, as pure functions of the state and a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx

import optax_lookbehind as ol
from experiments.parallel.microbatches import mean_over, own_copy
from experiments.tasks.base import Batch, Task
from experiments.training import decisions
from experiments.training.state import Metrics, TrainState, fast_weights_of, weights_of

_DROPOUT = 1 << 31  # fold_in constant that separates dropout keys from those of the augmentation


class StepConfig(NamedTuple):
    """Static inputs of a training step.

    Attributes:
      task: model, loss and evaluation.
      graphdef: the model without its arrays.
      tx: gradient to update; its ``update`` takes a ``grad_fn``.
      on_each_part: makes of ``update``, for one part of a batch, the same for a whole batch.
      parts: the mapped axis of these parts; None where a batch is one part.
      gamma: fraction of the examples that perturbed gradients are taken on (ESAM); None for all.
      max_skips: how many steps in a row may be skipped because they are not finite.
    """

    task: Task
    graphdef: nnx.GraphDef
    tx: optax.GradientTransformationExtraArgs
    on_each_part: Callable[[Callable], Callable] = lambda update: update
    parts: str | None = None
    gamma: float | None = None
    max_skips: int = 0


def train_step(config: StepConfig, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    """Takes one optimizer step.

    Loss and accuracy are those of the clean forward pass; the rest are the method's own metrics
    (alpha, threshold, ...) and whether the step was skipped.
    """
    next_key, draw = jax.random.split(state.key)
    # Before the batch is split: images do not depend on the number of devices or microbatches.
    batch = config.task.augment(draw, batch)
    weights = (state.params, state.batch_stats, state.opt_state)
    dropout_key = jax.random.fold_in(draw, _DROPOUT)

    def part(weights: tuple[Any, ...], batch: Batch) -> tuple[tuple[Any, ...], Metrics]:
        key = dropout_key
        if config.parts:
            key = jax.random.fold_in(key, jax.lax.axis_index(config.parts))
        return _update(config, *weights, batch, key)

    moved, metrics = config.on_each_part(part)(weights, batch)
    if config.max_skips:
        moved, skipped = _revert_skipped_step(config.max_skips, weights, moved)
        metrics |= {"skipped": skipped}
    new = TrainState(*moved, next_key)
    return new, metrics | decisions.of_step(state.opt_state, new.opt_state)


def _update(
    config: StepConfig,
    params: optax.Params,
    batch_stats: nnx.State,
    opt_state: optax.OptState,
    batch: Batch,
    key: jax.Array,
) -> tuple[tuple[optax.Params, nnx.State, optax.OptState], Metrics]:
    """The weights and statistics after a step on one part of a batch, the means over all parts."""

    def training_model(params: nnx.State) -> nnx.Module:
        # Copied, or the new statistics would be written into ``batch_stats``.
        model = nnx.merge(config.graphdef, params, batch_stats, copy=True)
        model.train()
        return model

    def loss_fn(params: nnx.State) -> tuple[jax.Array, Any]:
        model = training_model(params)
        loss, metrics = config.task.loss(model, batch, key)
        return loss, ({"loss": loss} | metrics, nnx.state(model, nnx.BatchStat))

    def grad_fn(params: nnx.State, i: jax.Array) -> nnx.State:
        del i  # every inner step stays on this minibatch
        # Discard BatchNorm statistics of the perturbed passes; they belong to no model we keep.
        return jax.grad(loss_fn, has_aux=True)(params)[0]

    at = own_copy(config.parts, fast_weights_of(params))
    (_, (metrics, new_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(at)
    if config.gamma is not None:
        grad_fn = ol.sharpest_examples_grad_fn(
            lambda params: config.task.example_losses(training_model(params), batch, key),
            at,
            config.gamma,
        )
    updates, opt_state = config.tx.update(grads, opt_state, params, grad_fn=grad_fn)
    metrics, new_stats = mean_over(config.parts, (metrics, new_stats))
    return (optax.apply_updates(params, updates), new_stats, opt_state), metrics


def _revert_skipped_step(most: int, old: Any, new: Any) -> tuple[Any, jax.Array]:
    """``old`` where ``optax.apply_if_finite`` skipped the step, except for its own counters."""
    counts = new[2][-1]
    skipped = (counts.notfinite_count > 0) & (counts.notfinite_count <= most)
    params, batch_stats, (*opt_state, _) = optax.tree.where(skipped, old, new)
    return (params, batch_stats, (*opt_state, counts)), skipped


def evaluate(task: Task, graphdef: nnx.GraphDef, state: TrainState, batch: Batch) -> Metrics:
    """Sums of the task's metrics over the batch, with BatchNorm's running statistics."""
    model = nnx.merge(graphdef, weights_of(state.params), state.batch_stats)
    model.eval()
    return task.evaluate(model, batch)
