"""One step of training and evaluation, as pure functions of the weights and a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import optax_lookbehind as ol
from experiments.data import Examples
from experiments.parallel.microbatches import mean_over, own_copy
from experiments.training import decisions

Metrics = dict[str, jax.Array]


class TrainState(NamedTuple):
    """Everything that a step changes.

    Attributes:
      params: the weights, as the optimizer wants them: for Lookahead, the fast and the slow ones.
      batch_stats: BatchNorm's running mean and variance.
      opt_state: the optimizer's.
      key: what the next step's augmentation is drawn from.
    """

    params: optax.Params
    batch_stats: nnx.State
    opt_state: optax.OptState
    key: jax.Array


class Task(NamedTuple):
    """What a step needs to know besides state and batch, fixed during a run.

    Attributes:
      graphdef: the model without its arrays.
      tx: gradient to update; its ``update`` takes a ``grad_fn``.
      preprocess: stored images to what the model sees.
      augment: key and stored images to images to train on.
      on_each_part: makes of ``update``, for one part of a batch, the same for a whole batch.
      parts: the mapped axis of these parts; None where a batch is one part.
      label_smoothing: the share of the labels that is spread over all classes.
      gamma: the share of the examples that perturbed gradients are taken on (ESAM); None for all.
      skips: how many steps in a row may be left out because they are not finite.
    """

    graphdef: nnx.GraphDef
    tx: optax.GradientTransformationExtraArgs
    preprocess: Callable[[jax.Array], jax.Array]
    augment: Callable[[jax.Array, jax.Array], jax.Array]
    on_each_part: Callable[[Callable], Callable] = lambda update: update
    parts: str | None = None
    label_smoothing: float = 0.0
    gamma: float | None = None
    skips: int = 0


def train_step(task: Task, state: TrainState, batch: Examples) -> tuple[TrainState, Metrics]:
    """Takes one optimizer step.

    Loss and accuracy are those of the clean forward pass; what else is measured is what the method
    decided, and whether the step was left out.
    """
    next_key, draw = jax.random.split(state.key)
    # Before the batch is divided: the images do not depend on how it is.
    batch = Examples(task.augment(draw, batch.images), batch.labels)
    weights = (state.params, state.batch_stats, state.opt_state)

    def part(weights: tuple[Any, ...], batch: Examples) -> tuple[tuple[Any, ...], Metrics]:
        return _update(task, *weights, batch)

    moved, metrics = task.on_each_part(part)(weights, batch)
    if task.skips:
        moved, skipped = _unless_not_finite(task.skips, weights, moved)
        metrics |= {"skipped": skipped}
    new = TrainState(*moved, next_key)
    return new, metrics | decisions.of_step(state.opt_state, new.opt_state)


def _update(
    task: Task,
    params: optax.Params,
    batch_stats: nnx.State,
    opt_state: optax.OptState,
    batch: Examples,
) -> tuple[tuple[optax.Params, nnx.State, optax.OptState], Metrics]:
    """The weights and statistics after a step on one part of a batch, the means over all parts."""

    def forward(params: nnx.State) -> tuple[jax.Array, nnx.State]:
        # Copied, or the new statistics would be written into ``batch_stats``.
        model = nnx.merge(task.graphdef, params, batch_stats, copy=True)
        model.train()
        return model(task.preprocess(batch.images)), nnx.state(model, nnx.BatchStat)

    def loss_fn(params: nnx.State) -> tuple[jax.Array, Any]:
        logits, new_stats = forward(params)
        loss = _losses(logits, batch.labels, task.label_smoothing).mean()
        return loss, ({"loss": loss, "accuracy": _hits(logits, batch.labels).mean()}, new_stats)

    def grad_fn(params: nnx.State, i: jax.Array) -> nnx.State:
        del i  # every inner step stays on this minibatch
        # Statistics at perturbed weights belong to no model that is kept: only the gradient leaves.
        return jax.grad(loss_fn, has_aux=True)(params)[0]

    at = own_copy(task.parts, _fast(params))
    (_, (metrics, new_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(at)
    if task.gamma is not None:
        grad_fn = ol.sharpest_examples_grad_fn(
            lambda params: _losses(forward(params)[0], batch.labels, task.label_smoothing),
            at,
            task.gamma,
        )
    updates, opt_state = task.tx.update(grads, opt_state, params, grad_fn=grad_fn)
    metrics, new_stats = mean_over(task.parts, (metrics, new_stats))
    return (optax.apply_updates(params, updates), new_stats, opt_state), metrics


def _unless_not_finite(most: int, old: Any, new: Any) -> tuple[Any, jax.Array]:
    """``old`` where ``optax.apply_if_finite`` left the step out: counters and statistics too.

    Its own counts go on.
    """
    counts = new[2][-1]
    skipped = (counts.notfinite_count > 0) & (counts.notfinite_count <= most)
    params, batch_stats, (*opt_state, _) = optax.tree.where(skipped, old, new)
    return (params, batch_stats, (*opt_state, counts)), skipped


def evaluate(task: Task, state: TrainState, examples: Examples) -> Metrics:
    """Sums of loss and accuracy with BatchNorm's running statistics, and the number of examples.

    Examples with a label below 0 only fill up the batch.
    """
    model = nnx.merge(task.graphdef, weights_of(state.params), state.batch_stats)
    model.eval()
    logits, count = model(task.preprocess(examples.images)), examples.labels >= 0
    labels = jnp.where(count, examples.labels, 0)
    return {
        "loss": jnp.sum(_losses(logits, labels, 0.0), where=count),
        "accuracy": jnp.sum(_hits(logits, labels), where=count),
        "examples": jnp.sum(count),
    }


def _losses(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    if smoothing == 0:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(one_hot, smoothing))


def _hits(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return logits.argmax(-1) == labels


def _fast(params: optax.Params) -> nnx.State:
    return params.fast if isinstance(params, optax.LookaheadParams) else params


def weights_of(params: optax.Params) -> nnx.State:
    """The weights to evaluate and to keep: for Lookahead, the slow ones."""
    return params.slow if isinstance(params, optax.LookaheadParams) else params
