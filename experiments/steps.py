"""One step of training and evaluation, as pure functions of the weights and a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx

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
    """

    graphdef: nnx.GraphDef
    tx: optax.GradientTransformationExtraArgs
    preprocess: Callable[[jax.Array], jax.Array]


def train_step(task: Task, state: TrainState, batch: Examples) -> tuple[TrainState, Metrics]:
    """Takes one optimizer step; loss and accuracy are those of the clean forward pass."""

    def loss_fn(params: nnx.State) -> tuple[jax.Array, Any]:
        # Copied, or the new statistics would be written into ``state``.
        model = nnx.merge(task.graphdef, params, state.batch_stats, copy=True)
        model.train()
        metrics = _metrics(model(task.preprocess(batch.images)), batch.labels)
        return metrics["loss"], (metrics, nnx.state(model, nnx.BatchStat))

    def grad_fn(params: nnx.State, i: jax.Array) -> nnx.State:
        del i  # every inner step stays on this minibatch
        # Statistics at perturbed weights belong to no model that is kept: only the gradient leaves.
        return jax.grad(loss_fn, has_aux=True)(params)[0]

    clean = jax.value_and_grad(loss_fn, has_aux=True)
    (_, (metrics, batch_stats)), grads = clean(_fast(state.params))
    updates, opt_state = task.tx.update(grads, state.opt_state, state.params, grad_fn=grad_fn)
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, batch_stats, opt_state), metrics


def evaluate(task: Task, state: TrainState, examples: Examples) -> Metrics:
    """Mean loss and accuracy with BatchNorm's running statistics."""
    model = nnx.merge(task.graphdef, _slow(state.params), state.batch_stats)
    model.eval()
    return _metrics(model(task.preprocess(examples.images)), examples.labels)


def _metrics(logits: jax.Array, labels: jax.Array) -> Metrics:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return {"loss": losses.mean(), "accuracy": (logits.argmax(-1) == labels).mean()}


def _fast(params: optax.Params) -> nnx.State:
    return params.fast if isinstance(params, optax.LookaheadParams) else params


def _slow(params: optax.Params) -> nnx.State:
    return params.slow if isinstance(params, optax.LookaheadParams) else params
