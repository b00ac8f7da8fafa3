"""Loss, accuracy and BatchNorm statistics of a model as functions of its weights.

Runs of the same architecture share the function objects, and thereby the compiled programs.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from experiments.data import Examples
from experiments.data.dataset import DatasetInfo
from experiments.tasks.base import Task
from experiments.tasks.classification import classification

MODES = ("running", "batch")


class Architecture(NamedTuple):
    """Everything that determines the functions of a run.

    Attributes:
      model: name of the model.
      dtype: type of the computation.
      image_shape: height, width and channels.
      num_classes: number of classes.
      mean: mean of the stored images, per channel.
      std: standard deviation of the stored images, per channel.
      label_smoothing: fraction of the labels that is spread over all classes.
    """

    model: str
    dtype: str
    image_shape: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    label_smoothing: float


class Batch(NamedTuple):
    """The batch argument of the loss functions.

    The statistics of BatchNorm come with each minibatch. In the closure of the loss function they
    would make it another function for each run, compiled anew; as part of the weights they would be
    perturbed. A copy per minibatch is small compared to its images.

    Attributes:
      examples: stored images and their labels.
      statistics: running mean and variance of BatchNorm.
    """

    examples: Examples
    statistics: nnx.State


class TestBatch(NamedTuple):
    """The batch argument of the accuracy.

    Attributes:
      examples: stored images and their labels; those labelled -1 are padding.
      weight: number of batches divided by number of examples, so that the mean over batches of
        weighted sums is the mean over examples.
    """

    examples: Examples
    weight: jax.Array


class Functions(NamedTuple):
    """Functions of weights and a batch.

    Attributes:
      loss: ``(params, batch) -> mean training loss``, with BatchNorm in the requested mode.
      batch_statistics_loss: the same, always with the batch's own BatchNorm statistics.
      accuracy: ``(params, test_batch, statistics) -> weighted number of correct predictions``.
      statistics: ``(params, stacked batches) -> statistics``, averaged over the batches.
    """

    loss: Callable[[nnx.State, Batch], jax.Array]
    batch_statistics_loss: Callable[[nnx.State, Batch], jax.Array]
    accuracy: Callable[[nnx.State, TestBatch, nnx.State], jax.Array]
    statistics: Callable[[nnx.State, Batch], nnx.State]


def architecture(config: ConfigDict, info: DatasetInfo) -> Architecture:
    """The architecture of a run."""
    return Architecture(
        config.model,
        config.dtype,
        info.image_shape,
        info.num_classes,
        tuple(map(float, info.mean)),
        tuple(map(float, info.std)),
        config.label_smoothing,
    )


@cache
def make_task(arch: Architecture) -> Task:
    """The task that a run was trained on, without augmentation."""
    return classification(
        arch.model,
        arch.image_shape,
        arch.num_classes,
        arch.mean,
        arch.std,
        dtype=arch.dtype,
        label_smoothing=arch.label_smoothing,
    )


def abstract_model(arch: Architecture) -> nnx.Module:
    """The model with abstract arrays."""
    return nnx.eval_shape(make_task(arch).make_model, jax.random.key(0))


@cache
def make_functions(arch: Architecture, batchnorm_mode: str) -> Functions:
    """Returns the functions of an architecture, the same objects in every call.

    Args:
      arch: the architecture.
      batchnorm_mode: mode of BatchNorm in ``loss``, one of ``MODES``.
    """
    task, graphdef = make_task(arch), nnx.graphdef(abstract_model(arch))
    no_dropout = jax.random.key(0)

    def merge(params: nnx.State, statistics: nnx.State) -> nnx.Module:
        # Copied, or the training mode would write into ``statistics``.
        return nnx.merge(graphdef, params, statistics, copy=True)

    def batch_statistics_loss(params: nnx.State, batch: Batch) -> jax.Array:
        model = merge(params, batch.statistics)
        model.train()
        return task.loss(model, batch.examples, no_dropout)[0]

    def running_statistics_loss(params: nnx.State, batch: Batch) -> jax.Array:
        model = merge(params, batch.statistics)
        model.eval()
        return task.loss(model, batch.examples, no_dropout)[0]

    def accuracy(params: nnx.State, batch: TestBatch, statistics: nnx.State) -> jax.Array:
        model = merge(params, statistics)
        model.eval()
        return batch.weight * task.evaluate(model, batch.examples)["accuracy"]

    def batch_statistics(params: nnx.State, batch: Batch) -> nnx.State:
        model = merge(params, batch.statistics)
        model.train()
        # momentum=0: the running statistics become those of this batch.
        model.set_attributes(nnx.BatchNorm, momentum=0.0, raise_if_not_found=False)
        task.loss(model, batch.examples, no_dropout)
        return nnx.state(model, nnx.BatchStat)

    def statistics(params: nnx.State, batches: Batch) -> nnx.State:
        each = jax.lax.map(lambda batch: batch_statistics(params, batch), batches)
        return jax.tree.map(lambda x: x.mean(axis=0), each)

    loss = {"running": running_statistics_loss, "batch": batch_statistics_loss}[batchnorm_mode]
    return Functions(loss, batch_statistics_loss, accuracy, statistics)


@partial(jax.jit, static_argnames="loss")
def mean_over_batches(
    loss: Callable[[Any, Any], jax.Array], params: Any, batches: Any
) -> jax.Array:
    """The mean of a loss over minibatches."""
    return jnp.mean(jax.lax.map(lambda batch: loss(params, batch), batches))
