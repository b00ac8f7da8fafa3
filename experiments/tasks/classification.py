"""Image classification: cross-entropy of normalized images."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments import models
from experiments.data.augment import crop_and_flip, normalize
from experiments.data.dataset import Examples
from experiments.models.dropout import insert_streams
from experiments.tasks.base import Metrics, Task


def classification(
    model: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    mean: Sequence[float] | np.ndarray,
    std: Sequence[float] | np.ndarray,
    *,
    dtype: str = "float32",
    label_smoothing: float = 0.0,
    augment: bool = False,
) -> Task:
    """Returns the task of classifying images; its batches are :class:`Examples`.

    Args:
      model: name of the model, see :func:`experiments.models.build`.
      image_shape: height, width and channels.
      num_classes: number of classes.
      mean: mean of the stored images per channel; models see ``(images - mean) / std``.
      std: standard deviation likewise.
      dtype: type of the model's computation.
      label_smoothing: fraction of each training label that is spread over all classes, in [0, 1).
      augment: whether to crop and flip training images at random.
    """
    mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)

    def make_model(key: jax.Array) -> nnx.Module:
        *_, image_size, channels = image_shape
        rngs = nnx.Rngs(key)
        return models.build(
            model, num_classes, channels, image_size=image_size, dtype=dtype, rngs=rngs
        )

    def logits_of(model: nnx.Module, images: jax.Array) -> jax.Array:
        return model(normalize(images, mean, std))

    def loss(model: nnx.Module, batch: Examples, key: jax.Array) -> tuple[jax.Array, Metrics]:
        insert_streams(model, key)
        logits = logits_of(model, batch.images)
        losses = cross_entropy(logits, batch.labels, label_smoothing)
        return losses.mean(), {"accuracy": _correct(logits, batch.labels).mean()}

    def example_losses(model: nnx.Module, batch: Examples, key: jax.Array) -> jax.Array:
        insert_streams(model, key)
        return cross_entropy(logits_of(model, batch.images), batch.labels, label_smoothing)

    def evaluate(model: nnx.Module, batch: Examples) -> Metrics:
        logits, is_example = logits_of(model, batch.images), batch.labels >= 0  # else PADDING
        labels = jnp.where(is_example, batch.labels, 0)
        return {
            "loss": jnp.sum(cross_entropy(logits, labels), where=is_example),
            "accuracy": jnp.sum(_correct(logits, labels), where=is_example),
            "examples": jnp.sum(is_example),
        }

    def crop_and_flip_batch(key: jax.Array, batch: Examples) -> Examples:
        return batch._replace(images=crop_and_flip(key, batch.images))

    task = Task(make_model, loss, example_losses, evaluate, score="accuracy")
    return task._replace(augment=crop_and_flip_batch) if augment else task


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """Cross-entropy of each example with labels smoothed by that fraction."""
    if smoothing == 0:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(one_hot, smoothing))


def _correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return logits.argmax(-1) == labels
