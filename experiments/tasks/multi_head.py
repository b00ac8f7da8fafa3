"""Image classification with one head for each task of a stream, all in one linear layer.

Labels carry the task: ``task = label // classes_per_task``. Loss and accuracy look at the columns
of the example's own task only, which is the same as separate linear heads on a shared network.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.typing import ArrayLike

from experiments import models
from experiments.data.augment import normalize
from experiments.data.dataset import Examples
from experiments.models.dropout import insert_streams
from experiments.tasks.base import Metrics, Task


def multi_head(
    model: str,
    image_shape: tuple[int, int, int],
    tasks: int,
    classes_per_task: int,
    mean: ArrayLike,
    std: ArrayLike,
    *,
    dtype: str = "float32",
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
) -> Task:
    """Returns the task of classifying images whose task is known.

    Its batches are :class:`Examples`; rows with a label below 0 are padding, in training too.

    Args:
      model: name of the model, see :func:`experiments.models.build`.
      image_shape: height, width and channels.
      tasks: number of tasks.
      classes_per_task: number of classes of a task.
      mean: mean of the stored images per channel; models see ``(images - mean) / std``.
      std: standard deviation likewise.
      dtype: type of the model's computation.
      augment: ``(key, images) -> images``; default None: images as they are stored.
    """

    def make_model(key: jax.Array) -> nnx.Module:
        *_, image_size, channels = image_shape
        outputs, rngs = tasks * classes_per_task, nnx.Rngs(key)
        return models.build(model, outputs, channels, image_size=image_size, dtype=dtype, rngs=rngs)

    def own_logits(model: nnx.Module, batch: Examples) -> jax.Array:
        logits = model(normalize(batch.images, mean, std))
        return own_head(logits, batch.labels, classes_per_task)

    def sums(model: nnx.Module, batch: Examples) -> Metrics:
        logits, labels = own_logits(model, batch), batch.labels % classes_per_task
        is_example = batch.labels >= 0
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return {
            "loss": jnp.sum(losses, where=is_example),
            "accuracy": jnp.sum(logits.argmax(-1) == labels, where=is_example),
            "examples": jnp.sum(is_example),
        }

    def loss(model: nnx.Module, batch: Examples, key: jax.Array) -> tuple[jax.Array, Metrics]:
        insert_streams(model, key)
        total = sums(model, batch)
        count = jnp.maximum(total["examples"], 1)
        return total["loss"] / count, {"accuracy": total["accuracy"] / count}

    def example_losses(model: nnx.Module, batch: Examples, key: jax.Array) -> jax.Array:
        insert_streams(model, key)
        labels = batch.labels % classes_per_task
        losses = optax.softmax_cross_entropy_with_integer_labels(own_logits(model, batch), labels)
        return jnp.where(batch.labels >= 0, losses, 0)

    def augment_batch(key: jax.Array, batch: Examples) -> Examples:
        assert augment is not None
        return batch._replace(images=augment(key, batch.images))

    task = Task(make_model, loss, example_losses, evaluate=sums, score="accuracy")
    return task._replace(augment=augment_batch) if augment else task


def own_head(logits: jax.Array, labels: jax.Array, classes_per_task: int) -> jax.Array:
    """The logits of each example's own task, ``[example, class of the task]``.

    Args:
      logits: ``[example, task * classes_per_task]``.
      labels: ``[example]``; for padding, below 0, the first task's logits are returned.
      classes_per_task: number of classes of a task.
    """
    by_task = logits.reshape(len(logits), -1, classes_per_task)
    task = jnp.maximum(labels, 0) // classes_per_task
    return jnp.take_along_axis(by_task, task[:, None, None], axis=1)[:, 0]
