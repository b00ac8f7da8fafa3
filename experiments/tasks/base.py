"""Interface of a task."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx

Batch = Any  # a pytree of arrays, examples along the leading axis
Metrics = dict[str, jax.Array]


def _unchanged(key: jax.Array, batch: Batch) -> Batch:
    del key
    return batch


def _no_replay(memory: None, batch: Batch) -> tuple[Batch, None]:
    return batch, memory


def _no_measure(model: nnx.Module) -> None:
    del model


class Task(NamedTuple):
    """Model, loss and evaluation of a training run, independent of method, optimizer and devices.

    Models hold weights (``nnx.Param``) and BatchNorm statistics (``nnx.BatchStat``), nothing else.
    ``loss`` gives its key to the dropout layers, with ``models.dropout.insert_streams`` or as
    ``model(x, rngs=nnx.Rngs(dropout=key))``. One training step passes the same key to the clean and
    to every perturbed pass, so that all have one mask; if the method switches minibatches, each
    minibatch has a key of its own.

    Attributes:
      make_model: ``(key) -> model``, freshly initialized.
      loss: ``(model, batch, key) -> (loss, metrics)``, the mean training loss of a batch and means
        of other metrics, scalars. The model is in training mode; ``key`` is for dropout.
      example_losses: ``(model, batch, key) -> losses``, the loss of each example, ``[example]``;
        their mean is ``loss`` (ESAM selects examples by it).
      evaluate: ``(model, batch) -> sums``, sums of the metrics over the batch, and their total
        weight as ``"examples"``. The model is in evaluation mode. Padding is not counted.
      augment: ``(key, batch) -> batch``, random changes to a training batch before every pass.
      make_memory: ``() -> memory``, what a run remembers of its batches before the first step; None
        for nothing.
      replay: ``(memory, batch) -> (batch, memory)``, what the step learns from, given an augmented
        batch, and the memory after it.
      measure: ``(model) -> metrics``, metrics of whole splits that are computed on the host at the
        end of a run, such as ``{"test_bleu": 31.4}``; None for none.
      score: name of the metric of ``evaluate`` by which epochs and runs are compared.
    """

    make_model: Callable[[jax.Array], nnx.Module]
    loss: Callable[[nnx.Module, Batch, jax.Array], tuple[jax.Array, Metrics]]
    example_losses: Callable[[nnx.Module, Batch, jax.Array], jax.Array]
    evaluate: Callable[[nnx.Module, Batch], Metrics]
    augment: Callable[[jax.Array, Batch], Batch] = _unchanged
    make_memory: Callable[[], Any] = lambda: None
    replay: Callable[[Any, Batch], tuple[Batch, Any]] = _no_replay
    measure: Callable[[nnx.Module], Mapping[str, float] | None] = _no_measure
    score: str = "loss"
