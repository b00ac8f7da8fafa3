"""Language modelling: cross-entropy of each next byte."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from experiments.data.pipeline import Pipeline
from experiments.data.text.bytes import (
    NUM_BYTES,
    PADDING,
    byte_pipeline,
    make_windows,
    read_text,
)
from experiments.models.sequence.gpt import GPT
from experiments.parallel.microbatches import check_batch_size
from experiments.tasks.base import Metrics, Task


def make_language(
    config: ConfigDict, mesh: Mesh, order_key: jax.Array, num_minibatches: int
) -> tuple[Task, Pipeline]:
    """Returns the task and the pipeline of the config's text."""
    if config.model != "gpt":
        raise ValueError(f"model must be 'gpt' for language modelling, got {config.model!r}.")
    if config.validation:
        raise ValueError(
            f"validation must be 0 for a text, whose last tenth is the test set, "
            f"got {config.validation}."
        )
    check_batch_size(config.batch_size, config.microbatches, mesh.size)
    pipeline = byte_pipeline(
        make_windows(read_text(config.data_dir), config.length),
        mesh,
        order_key,
        batch_size=config.batch_size,
        eval_batch_size=config.eval_batch_size,
        num_minibatches=num_minibatches,
    )
    return language(config), pipeline


def language(config: ConfigDict) -> Task:
    """Returns the task of predicting bytes; its batches are windows ``[example, position]``."""

    def make_model(key: jax.Array) -> GPT:
        return GPT(
            NUM_BYTES,
            length=config.length,
            width=config.width,
            heads=config.heads,
            layers=config.layers,
            dtype=jnp.dtype(config.dtype),
            rngs=nnx.Rngs(key),
        )

    return Task(make_model, _loss, _example_losses, _evaluate)


def _loss(model: nnx.Module, batch: jax.Array, key: jax.Array) -> tuple[jax.Array, Metrics]:
    del key  # no dropout
    losses, correct = _byte_losses(model, batch)
    return losses.mean(), {"accuracy": correct.mean()}


def _example_losses(model: nnx.Module, batch: jax.Array, key: jax.Array) -> jax.Array:
    del key
    return _byte_losses(model, batch)[0].mean(-1)


def _evaluate(model: nnx.Module, batch: jax.Array) -> Metrics:
    is_byte = batch[:, 1:] != PADDING
    losses, correct = _byte_losses(model, jnp.maximum(batch, 0))
    return {
        "loss": jnp.sum(losses, where=is_byte),
        "accuracy": jnp.sum(correct, where=is_byte),
        "examples": jnp.sum(is_byte),
    }


def _byte_losses(model: nnx.Module, batch: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy of each byte but the first, in nats, and whether it was the likeliest."""
    tokens = batch.astype(jnp.int32)
    logits, targets = model(tokens[:, :-1]), tokens[:, 1:]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return losses, logits.argmax(-1) == targets
