"""One step of training and evaluation, as pure functions of the state and a batch."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import optax_lookbehind as ol
from experiments.parallel.microbatches import Parts
from experiments.tasks.base import Batch, Task
from experiments.training.state import Metrics, TrainState, fast_weights_of, weights_of
from experiments.training.transformations import SkipNonfiniteState

_DROPOUT = 1 << 31  # fold_in constant that separates dropout keys from those of the augmentation


class StepConfig(NamedTuple):
    """Static inputs of a training step.

    Attributes:
      task: model, loss and evaluation.
      graphdef: the model without its arrays.
      tx: gradient to update; its ``update`` takes a ``grad_fn``.
      num_minibatches: number of stacked minibatches of a batch, between which the inner steps of
        the method switch.
      example_fraction: fraction of the examples that perturbed gradients are taken on (ESAM); None
        for all.
      parts: the independently perturbed parts of a batch (m-SAM).
    """

    task: Task
    graphdef: nnx.GraphDef
    tx: optax.GradientTransformationExtraArgs
    num_minibatches: int = 1
    example_fraction: float | None = None
    parts: Parts = Parts()


def train_step(config: StepConfig, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    """Takes one optimizer step.

    The metrics of the task are those of the clean forward pass; the others are the method's own
    (alpha, threshold, ...) and whether the step was skipped.
    """
    next_key, draw = jax.random.split(state.key)
    switches = config.num_minibatches > 1
    # Before the batch is split: images do not depend on the number of devices or microbatches.
    augment = config.task.augment
    if switches:
        batch = jax.vmap(augment)(jax.random.split(draw, config.num_minibatches), batch)
    else:
        batch = augment(draw, batch)
    batch, memory = config.task.replay(state.memory, batch)
    update = config.parts.map(partial(_update, config), example_axis=1 if switches else 0)
    dropout_key = jax.random.fold_in(draw, _DROPOUT)
    new_state, metrics = update(state._replace(key=dropout_key, memory=None), batch)
    # Of ESAM, which has no such loss, and of other minibatches, there is no sharpness.
    same = config.example_fraction is None and not switches
    loss = metrics["loss"] if same else None
    metrics |= method_metrics(state.opt_state, new_state.opt_state, loss)
    return new_state._replace(key=next_key, memory=memory), metrics


def _update(config: StepConfig, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    """The update on one part of a batch, with means over all parts; the key is for dropout."""
    key, axis_name = state.key, config.parts.axis_name
    if axis_name:  # each part has dropout masks of its own
        key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))

    def training_model(params: nnx.State) -> nnx.Module:
        # Copied, or the new statistics would be written into ``state``.
        model = nnx.merge(config.graphdef, params, state.batch_stats, copy=True)
        model.train()
        return model

    def loss_fn(params: nnx.State, i: jax.Array | int) -> tuple[jax.Array, Any]:
        minibatch, dropout_key = batch, key
        if config.num_minibatches > 1:
            minibatch = jax.tree.map(lambda x: x[i], batch)
            dropout_key = jax.random.fold_in(key, i)
        model = training_model(params)
        loss, metrics = config.task.loss(model, minibatch, dropout_key)
        return loss, ({"loss": loss} | metrics, nnx.state(model, nnx.BatchStat))

    value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)

    def grad_fn(params: nnx.State, i: jax.Array) -> ol.ValueAndGrads:
        # Discard BatchNorm statistics of the perturbed passes; they belong to no model we keep.
        (loss, _), grads = value_and_grad(params, i)
        return ol.ValueAndGrads(loss, grads)

    params = ol.per_device_params(fast_weights_of(state.params), axis_name)
    (_, (metrics, batch_stats)), grads = value_and_grad(params, 0)
    perturbed_grad_fn: Callable[..., optax.Updates] = grad_fn
    if config.example_fraction is not None:
        perturbed_grad_fn = ol.sharpest_examples_grad_fn(
            lambda params: config.task.example_losses(training_model(params), batch, key),
            params,
            config.example_fraction,
        )
    updates, opt_state = config.tx.update(
        grads, state.opt_state, state.params, grad_fn=perturbed_grad_fn
    )
    metrics, batch_stats = config.parts.mean((metrics, batch_stats))
    if isinstance(opt_state, SkipNonfiniteState):
        batch_stats = optax.tree.where(opt_state.skipped, state.batch_stats, batch_stats)
        metrics |= {"skipped": opt_state.skipped}
    new_params = optax.apply_updates(state.params, updates)
    return TrainState(new_params, batch_stats, opt_state, state.key), metrics


def method_metrics(
    before: optax.OptState, after: optax.OptState, loss: jax.Array | None = None
) -> Metrics:
    """Reads scalars from the optimizer's states around a step.

    The states are looked up by type, not the fields by name: Adam has a ``mu`` too.

    Args:
      before: the state before the step.
      after: the state after it.
      loss: the loss at the weights, if ``grad_fn`` returned that of the perturbed weights on the
        same examples.

    Returns:
      Given ``loss``, the ``sharpness``: the loss at the last perturbed point minus ``loss``; NaN in
      a plain step of a policy.
      ``applied`` of a policy: 1 if the step was sharpness-aware, else 0; ``mu``, ``sigma`` and
      ``threshold`` of the adaptive one; ``alpha`` of Lookbehind, the mean over the tensors if each
      has its own. Empty for other methods.
    """
    metrics = {}
    if (policy := optax.tree.get(after, "PolicyState")) is not None:
        metrics["applied"] = policy.applied - optax.tree.get(before, "PolicyState").applied
    if (adaptive := optax.tree.get(after, "AdaptiveState")) is not None:
        sigma = jnp.sqrt(adaptive.var)
        metrics |= {"mu": adaptive.mu, "sigma": sigma, "threshold": adaptive.threshold}
    if (lookbehind := optax.tree.get(after, "LookbehindState")) is not None:
        metrics["alpha"] = lookbehind.alpha.mean()
    perturbed = optax.tree.get(after, "perturbed_losses")
    if loss is not None and perturbed is not None:
        metrics["sharpness"] = jnp.where(
            metrics.get("applied", 1) > 0, perturbed[-1] - loss, jnp.nan
        )
    return metrics


def evaluate(task: Task, graphdef: nnx.GraphDef, state: TrainState, batch: Batch) -> Metrics:
    """Sums of the task's metrics over the batch."""
    return task.evaluate(evaluation_model(graphdef, state), batch)


def evaluation_model(graphdef: nnx.GraphDef, state: TrainState) -> nnx.Module:
    """The model in evaluation mode, with BatchNorm's running statistics."""
    model = nnx.merge(graphdef, weights_of(state), state.batch_stats)
    model.eval()
    return model
