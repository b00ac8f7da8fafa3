"""Input pipeline of windows of a series, which are cut on the devices when they are needed."""

from collections.abc import Iterator
from functools import partial
from itertools import count
from operator import mul
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from experiments.data.pipeline import (
    Epoch,
    Pipeline,
    epoch_rows,
    evaluation_sets,
    steps_per_epoch,
)
from experiments.data.series.split import Part, Parts
from experiments.parallel.mesh import batch_sharding, replicated, round_up, to_devices

PADDING = -1  # the start of a window that only pads a batch


class Windows(NamedTuple):
    """A batch of windows.

    Attributes:
      values: ``[example, time, channel]``, float32: look-back and horizon.
      is_example: ``[example]``; False for padding.
    """

    values: Any
    is_example: Any


class SeriesInfo(NamedTuple):
    """Static properties of a series: the number of training windows, and of channels."""

    num_examples: int
    channels: int


def series_pipeline(
    parts: Parts,
    length: int,
    mesh: Mesh,
    key: jax.Array,
    *,
    batch_size: int,
    eval_batch_size: int,
    num_minibatches: int = 1,
    eval_test: bool = False,
) -> Pipeline:
    """Returns a pipeline of :class:`Windows`; only the series itself is kept on the devices.

    Args:
      parts: the scaled series and the windows of its parts.
      length: number of rows of a window.
      mesh: devices that divide each batch.
      key: PRNG key of the order of the windows.
      batch_size: number of windows of a minibatch; the last, partial one of an epoch is dropped.
      eval_batch_size: the same for evaluation, rounded up to what the devices divide. No window is
        dropped there: the last batch is padded.
      num_minibatches: number of minibatches of a training step.
      eval_test: whether to evaluate on the test part in addition to the validation part.
    """
    number = parts.train.windows
    steps = steps_per_epoch(number, batch_size, num_minibatches)
    sharding = batch_sharding(mesh, axis=1 if num_minibatches > 1 else 0)
    series = to_devices(parts.values, replicated(mesh))
    largest = max(parts.val.windows, parts.test.windows)
    eval_size = round_up(min(eval_batch_size, largest), mesh.size)

    def train(first_epoch: int, first_step: int = 0) -> Iterator[Epoch]:
        for epoch in count(first_epoch):
            # The windows to train on start at row 0: their numbers are their first rows.
            starts = epoch_rows(key, epoch, number, batch_size, num_minibatches, sharding=sharding)
            yield (cut(series, rows, length, sharding) for rows in starts[first_step:])
            first_step = 0

    def on_devices(part: Part) -> list[Any]:
        return to_devices(eval_starts(part, eval_size), batch_sharding(mesh))

    def evaluate(batches: list[Any]) -> Iterator[Windows]:
        return (cut(series, starts, length, batch_sharding(mesh)) for starts in batches)

    return Pipeline(
        SeriesInfo(number, parts.values.shape[1]),
        partial(mul, steps),
        batch_size * num_minibatches,
        train,
        {
            name: partial(evaluate, on_devices(part))
            for name, part in evaluation_sets(parts.val, parts.test, eval_test).items()
        },
        unit="windows",
    )


def eval_starts(part: Part, size: int) -> list[Any]:
    """The first rows of all windows of a part, in batches; the last one has ``PADDING``."""
    starts = np.full(round_up(part.windows, size), PADDING, np.int32)
    starts[: part.windows] = part.start + np.arange(part.windows)
    return list(starts.reshape(-1, size))


@partial(jax.jit, static_argnames=("length", "sharding"))
def cut(series: jax.Array, starts: jax.Array, length: int, sharding: NamedSharding) -> Windows:
    """The windows of ``length`` rows that start at these rows of the series.

    The series is an argument: XLA would fold a constant at compile time, for seconds.
    """
    rows = jnp.maximum(starts, 0)[..., None] + jnp.arange(length)
    return jax.lax.with_sharding_constraint(Windows(series[rows], starts != PADDING), sharding)
