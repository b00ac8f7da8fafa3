"""The functions of a model that the measures are given: one object each for one architecture."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from ml_collections import ConfigDict

from experiments import models
from experiments.data import Examples
from experiments.data.augment import normalize
from experiments.data.pipeline import Facts

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


def abstract_model(of: Architecture) -> nnx.Module:
    """The model with shapes in place of arrays."""

    def build(key: jax.Array) -> nnx.Module:
        *_, size, channels = of.image_shape
        rngs = nnx.Rngs(key)
        return models.build(
            of.model, of.num_classes, channels, image_size=size, dtype=of.dtype, rngs=rngs
        )

    return nnx.eval_shape(build, jax.random.key(0))


@cache
def functions(of: Architecture, mode: str) -> Functions:
    """The functions of an architecture; the same objects each time.

    Args:
      of: the architecture.
      mode: of BatchNorm in ``loss``, one of ``MODES``.
    """
    graphdef = nnx.graphdef(abstract_model(of))

    def merge(params: nnx.State, statistics: nnx.State) -> nnx.Module:
        # Copied, or the training mode would write into ``statistics``.
        return nnx.merge(graphdef, params, statistics, copy=True)

    def logits(model: nnx.Module, examples: Examples) -> jax.Array:
        return model(normalize(examples.images, jnp.array(of.mean), jnp.array(of.std)))

    def mean_loss(model: nnx.Module, examples: Examples) -> jax.Array:
        labels = jax.nn.one_hot(examples.labels, of.num_classes)
        labels = optax.smooth_labels(labels, of.label_smoothing)
        return optax.softmax_cross_entropy(logits(model, examples), labels).mean()

    def loss_of_batch(params: nnx.State, batch: Batch) -> jax.Array:
        model = merge(params, batch.statistics)
        model.train()
        return mean_loss(model, batch.examples)

    def loss_of_running(params: nnx.State, batch: Batch) -> jax.Array:
        model = merge(params, batch.statistics)
        model.eval()
        return mean_loss(model, batch.examples)

    def accuracy(params: nnx.State, batch: TestBatch, statistics: nnx.State) -> jax.Array:
        model = merge(params, statistics)
        model.eval()
        hits = logits(model, batch.examples).argmax(-1) == batch.examples.labels
        return batch.weight * jnp.sum(hits)

    def statistics_of(params: nnx.State, batch: Batch) -> nnx.State:
        model = merge(params, batch.statistics)
        model.train()
        # No memory: what is running afterwards is the batch's.
        model.set_attributes(nnx.BatchNorm, momentum=0.0, raise_if_not_found=False)
        logits(model, batch.examples)
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
