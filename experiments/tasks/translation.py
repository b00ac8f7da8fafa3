"""Translation: label-smoothed cross-entropy per target token, judged by BLEU."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.data.text.buckets import Pairs
from experiments.data.text.tokens import BOS, PAD
from experiments.tasks.base import Metrics, Task


def translation(
    make_model: Callable[[jax.Array], nnx.Module],
    *,
    label_smoothing: float = 0.0,
    measure: Callable[[nnx.Module], Mapping[str, float] | None] = lambda model: None,
) -> Task:
    """Returns the task of translating; its batches are :class:`Pairs`.

    The loss of a batch is the mean over its target tokens, so that sentences count by their length.

    Args:
      make_model: ``(key) -> model``.
      label_smoothing: fraction of each target that is spread over all other tokens, in [0, 1).
      measure: ``(model) -> metrics``, see :class:`Task`.
    """

    def token_losses(
        model: nnx.Module, batch: Pairs, smoothing: float, rngs: nnx.Rngs | None
    ) -> tuple[jax.Array, jax.Array]:
        logits = model(batch.source, shift_right(batch.target), rngs)
        is_token = batch.target != PAD
        losses = smoothed_cross_entropy(logits, batch.target, smoothing)
        correct = logits.argmax(-1) == batch.target
        return jnp.where(is_token, losses, 0), jnp.where(is_token, correct, False)

    def loss(model: nnx.Module, batch: Pairs, key: jax.Array) -> tuple[jax.Array, Metrics]:
        losses, correct = token_losses(model, batch, label_smoothing, nnx.Rngs(dropout=key))
        tokens = _count(batch)
        return losses.sum() / tokens, {"accuracy": correct.sum() / tokens}

    def example_losses(model: nnx.Module, batch: Pairs, key: jax.Array) -> jax.Array:
        losses, _ = token_losses(model, batch, label_smoothing, nnx.Rngs(dropout=key))
        # Scaled so that their mean over sentences is the mean over tokens.
        return losses.sum(-1) * (len(losses) / _count(batch))

    def evaluate(model: nnx.Module, batch: Pairs) -> Metrics:
        losses, correct = token_losses(model, batch, 0.0, None)
        tokens = (batch.target != PAD).sum()
        return {"loss": losses.sum(), "accuracy": correct.sum(), "examples": tokens}

    return Task(make_model, loss, example_losses, evaluate, measure=measure)


def shift_right(target: jax.Array) -> jax.Array:
    """The decoder's input: each target token's predecessor."""
    return jnp.pad(target[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)


def smoothed_cross_entropy(logits: jax.Array, targets: jax.Array, smoothing: float) -> jax.Array:
    """Cross-entropy with 1 - eps on the target and eps / (V - 1) on every other token, as fairseq.

    ``optax.smooth_labels`` spreads eps over all V tokens, the target included.
    """
    log_probs = jax.nn.log_softmax(logits)
    nll = -jnp.take_along_axis(log_probs, targets[..., None], axis=-1)[..., 0]
    if smoothing == 0:
        return nll
    other = smoothing / (logits.shape[-1] - 1)
    return (1 - smoothing - other) * nll - other * log_probs.sum(-1)


def _count(batch: Pairs) -> jax.Array:
    """Number of target tokens; 1 for a batch of padding, whose losses are all 0."""
    return jnp.maximum((batch.target != PAD).sum(), 1)
