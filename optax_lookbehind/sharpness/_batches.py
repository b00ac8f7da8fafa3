"""Means over minibatches, in memory that does not grow with their number."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.cpu_convolutions import rewrite_cpu_convolutions
from optax_lookbehind._tree import accumulable
from optax_lookbehind.sharpness._arguments import check_batches

LossFn = Callable[[optax.Params, Any], jax.Array]


def mean_over_batches(fn: Callable[[Any], Any], batches: Any) -> Any:
    """The mean of the pytrees ``fn(batch)``, accumulated in float32 or wider."""
    number = check_batches(batches)
    first = jax.tree.map(lambda x: x[0], batches)
    shapes = jax.eval_shape(lambda batch: accumulable(fn(batch)), first)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def add(total: Any, batch: Any) -> tuple[Any, None]:
        return optax.tree.add(total, accumulable(fn(batch))), None

    total, _ = jax.lax.scan(add, zero, batches)
    return optax.tree.scale(1 / number, total)


def mean_loss(loss_fn: LossFn, params: optax.Params, batches: Any) -> jax.Array:
    """The mean of ``loss_fn`` over the minibatches."""
    loss = rewrite_cpu_convolutions(loss_fn)
    return mean_over_batches(lambda batch: loss(params, batch), batches)
