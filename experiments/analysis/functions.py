"""The functions of a model that the measures are given: one object each for one architecture."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from experiments.data import Examples
from experiments.data.pipeline import Facts
from experiments.tasks.base import Task
from experiments.tasks.classification import classification

MODES = ("running", "batch")


class Architecture(NamedTuple):
    """Everything that decides the functions of a run: runs that agree on it share programs.

    Attributes:
      model: its name.
      dtype: of the computation.
      image_shape: height, width and channels.
      num_classes: number of classes.
      mean: what is subtracted from stored images, per channel.
      std: what they are then divided by.
      label_smoothing: of the loss.
    """

    model: str
    dtype: str
    image_shape: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    label_smoothing: float


class Batch(NamedTuple):
    """What a loss function gets besides the weights.

    BatchNorm's statistics come with each minibatch. In the closure of the loss function they would
    make it another function for each run, compiled again for each; beside the weights they would be
    perturbed with them. A copy for each minibatch is small beside its images.

    Attributes:
      examples: stored images and their labels.
      statistics: BatchNorm's running mean and variance.
    """

    examples: Examples
    statistics: nnx.State


class TestBatch(NamedTuple):
    """What the accuracy is measured on.

    Attributes:
      examples: stored images and their labels; those labelled -1 only fill up the last batch.
      weight: number of batches by number of examples, so that the mean over batches of weighted
        sums is the mean over examples.
    """

    examples: Examples
    weight: jax.Array


class Functions(NamedTuple):
    """Functions of weights and a batch, for the measures.

    Attributes:
      loss: the mean training loss of a :class:`Batch`, with BatchNorm in the mode asked for.
      loss_of_batch: the same with the batch's own statistics, whatever was asked for.
      accuracy: of a :class:`TestBatch`, with the statistics that are its third argument.
      statistics: the mean over minibatches, a stacked :class:`Batch`, of their own statistics.
    """

    loss: Callable[[nnx.State, Batch], jax.Array]
    loss_of_batch: Callable[[nnx.State, Batch], jax.Array]
    accuracy: Callable[[nnx.State, TestBatch, nnx.State], jax.Array]
    statistics: Callable[[nnx.State, Batch], nnx.State]


def architecture(config: ConfigDict, facts: Facts) -> Architecture:
    """The architecture of a run."""
    return Architecture(
        config.model,
        config.dtype,
        tuple(facts.image_shape),
        facts.num_classes,
        tuple(map(float, facts.mean)),
        tuple(map(float, facts.std)),
        config.label_smoothing,
    )


@cache
def task_of(of: Architecture) -> Task:
    """The task that a run was trained on, without augmentation."""
    return classification(
        of.model,
        of.image_shape,
        of.num_classes,
        of.mean,
        of.std,
        dtype=of.dtype,
        label_smoothing=of.label_smoothing,
    )


def abstract_model(of: Architecture) -> nnx.Module:
    """The model with shapes in place of arrays."""
    return nnx.eval_shape(task_of(of).make_model, jax.random.key(0))


@cache
def functions(of: Architecture, mode: str) -> Functions:
    """The functions of an architecture; the same objects each time.

    Args:
      of: the architecture.
      mode: of BatchNorm in ``loss``, one of ``MODES``.
    """
    task, graphdef = task_of(of), nnx.graphdef(abstract_model(of))
    no_dropout = jax.random.key(0)

    def merge(params: nnx.State, statistics: nnx.State) -> nnx.Module:
        # Copied, or the training mode would write into ``statistics``.
        return nnx.merge(graphdef, params, statistics, copy=True)

    def loss_of_batch(params: nnx.State, batch: Batch) -> jax.Array:
        model = merge(params, batch.statistics)
        model.train()
        return task.loss(model, batch.examples, no_dropout)[0]

    def loss_of_running(params: nnx.State, batch: Batch) -> jax.Array:
        model = merge(params, batch.statistics)
        model.eval()
        return task.loss(model, batch.examples, no_dropout)[0]

    def accuracy(params: nnx.State, batch: TestBatch, statistics: nnx.State) -> jax.Array:
        model = merge(params, statistics)
        model.eval()
        return batch.weight * task.evaluate(model, batch.examples)["accuracy"]

    def statistics_of(params: nnx.State, batch: Batch) -> nnx.State:
        model = merge(params, batch.statistics)
        model.train()
        # momentum=0: the running statistics become those of this batch.
        model.set_attributes(nnx.BatchNorm, momentum=0.0, raise_if_not_found=False)
        task.loss(model, batch.examples, no_dropout)
        return nnx.state(model, nnx.BatchStat)

    def statistics(params: nnx.State, batches: Batch) -> nnx.State:
        of_each = jax.lax.map(lambda batch: statistics_of(params, batch), batches)
        return jax.tree.map(lambda x: x.mean(axis=0), of_each)

    loss = {"running": loss_of_running, "batch": loss_of_batch}[mode]
    return Functions(loss, loss_of_batch, accuracy, statistics)


@partial(jax.jit, static_argnames="loss")
def mean_over(loss: Callable[[Any, Any], jax.Array], params: Any, batches: Any) -> jax.Array:
    """The mean of a loss over minibatches."""
    return jnp.mean(jax.lax.map(lambda batch: loss(params, batch), batches))
