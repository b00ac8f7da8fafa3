"""One step of training and evaluation, as pure functions of the weights and a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx

import optax_lookbehind as ol
from experiments.data.dataset import Examples

Metrics = dict[str, jax.Array]


class TrainState(NamedTuple):
    """Everything that a step changes.

    Attributes:
      params: the weights, as the optimizer wants them: for Lookahead, the fast and the slow ones.
      batch_stats: BatchNorm's running mean and variance.
      opt_state: the optimizer's.
    """

    params: optax.Params
    batch_stats: nnx.State
    opt_state: optax.OptState


class Task(NamedTuple):
    """What a step needs to know besides state and batch, fixed during a run.

    Attributes:
      graphdef: the model without its arrays.
      tx: gradient to update; its ``update`` takes a ``grad_fn``.
      preprocess: stored images to what the model sees.
      gamma: the share of the examples that perturbed gradients are taken on (ESAM); None for all.
    """

    graphdef: nnx.GraphDef
    tx: optax.GradientTransformationExtraArgs
    preprocess: Callable[[jax.Array], jax.Array]
    gamma: float | None = None


def train_step(task: Task, state: TrainState, batch: Examples) -> tuple[TrainState, Metrics]:
    """Takes one optimizer step; loss and accuracy are those of the clean forward pass."""

    def forward(params: nnx.State) -> tuple[jax.Array, nnx.State]:
        # Copied, or the new statistics would be written into ``state``.
        model = nnx.merge(task.graphdef, params, state.batch_stats, copy=True)
        model.train()
        return model(task.preprocess(batch.images)), nnx.state(model, nnx.BatchStat)

    def loss_fn(params: nnx.State) -> tuple[jax.Array, Any]:
        logits, batch_stats = forward(params)
        metrics = _metrics(logits, batch.labels)
        return metrics["loss"], (metrics, batch_stats)

    def grad_fn(params: nnx.State, i: jax.Array) -> nnx.State:
        del i  # every inner step stays on this minibatch
        # Statistics at perturbed weights belong to no model that is kept: only the gradient leaves.
        return jax.grad(loss_fn, has_aux=True)(params)[0]

    clean = jax.value_and_grad(loss_fn, has_aux=True)
    (_, (metrics, batch_stats)), grads = clean(_fast(state.params))
    if task.gamma is not None:
        grad_fn = ol.sharpest_examples_grad_fn(
            lambda params: _losses(forward(params)[0], batch.labels),
            _fast(state.params),
            task.gamma,
        )
    updates, opt_state = task.tx.update(grads, state.opt_state, state.params, grad_fn=grad_fn)
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, batch_stats, opt_state), metrics


def evaluate(task: Task, state: TrainState, examples: Examples) -> Metrics:
    """Mean loss and accuracy with BatchNorm's running statistics."""
    model = nnx.merge(task.graphdef, _slow(state.params), state.batch_stats)
    model.eval()
    return _metrics(model(task.preprocess(examples.images)), examples.labels)


def _losses(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def _metrics(logits: jax.Array, labels: jax.Array) -> Metrics:
    accuracy = (logits.argmax(-1) == labels).mean()
    return {"loss": _losses(logits, labels).mean(), "accuracy": accuracy}


def _fast(params: optax.Params) -> nnx.State:
    return params.fast if isinstance(params, optax.LookaheadParams) else params


def _slow(params: optax.Params) -> nnx.State:
    return params.slow if isinstance(params, optax.LookaheadParams) else params
