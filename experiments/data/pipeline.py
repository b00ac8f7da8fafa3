"""Input pipelines: datasets resident on the devices, or streamed from the host."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import count, islice
from operator import mul
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding

from experiments.data.dataset import Dataset, DatasetInfo, Examples, info_of, pad
from experiments.data.images import imagenet
from experiments.parallel.mesh import (
    batch_sharding,
    global_batch,
    resident,
    round_up,
    to_devices,
)

Batch = Any  # a pytree of arrays, examples along the leading axis
Epoch = Iterable[Batch]


class Pipeline(NamedTuple):
    """The batches of a run.

    Batches are a pure function of epoch and step, so checkpoints need no iterator state.

    Attributes:
      info: static properties of the dataset: :class:`DatasetInfo`, or those of another task.
      steps: ``(epochs) -> number of batches`` of the first so many epochs.
      examples_per_step: number of examples of a batch.
      train: ``(first_epoch, first_step=0) -> iterator over epochs of iterators over batches``,
        without end, from that step of that epoch. For a method that switches minibatches, a batch
        is several stacked ones: ``[minibatch, example]``.
      evaluation: name of the split -> ``() -> iterator over batches``. The names are "val", "test"
        or both. Batches have one size that the devices divide; the last one is padded.
      unit: name of the examples in progress bar and timing.
    """

    info: Any
    steps: Callable[[int], int]
    examples_per_step: int
    train: Callable[..., Iterator[Epoch]]
    evaluation: Mapping[str, Callable[[], Iterable[Batch]]]
    unit: str = "images"


def in_memory(
    dataset: Dataset,
    mesh: Mesh,
    key: jax.Array,
    *,
    batch_size: int,
    eval_batch_size: int,
    num_minibatches: int = 1,
    eval_test: bool = False,
) -> Pipeline:
    """Returns a pipeline that keeps the dataset on the devices, divided among them if it is large.

    Args:
      dataset: the dataset.
      mesh: devices that divide each batch.
      key: PRNG key of the order of the examples.
      batch_size: number of examples of a minibatch; the last, partial one of an epoch is dropped.
      eval_batch_size: the same for evaluation, rounded up to what the devices divide.
      num_minibatches: number of minibatches of a training step.
      eval_test: whether to evaluate on the test set in addition to ``dataset.val``.
    """
    info = info_of(dataset)

    def on_devices(examples: Examples) -> list[Examples]:
        size = round_up(min(eval_batch_size, len(examples.labels)), mesh.size)
        batches = padded_batches(examples, size)
        return [to_devices(batch, batch_sharding(mesh)) for batch in batches]

    eval_sets = evaluation_sets(dataset.val, dataset.test, eval_test)
    evaluation = {name: on_devices(examples) for name, examples in eval_sets.items()}
    return Pipeline(
        info,
        partial(mul, steps_per_epoch(info.num_examples, batch_size, num_minibatches)),
        batch_size * num_minibatches,
        shuffled_epochs(dataset.train, mesh, key, batch_size, num_minibatches),
        {name: partial(iter, batches) for name, batches in evaluation.items()},
    )


def shuffled_epochs(
    examples: Batch, mesh: Mesh, key: jax.Array, batch_size: int, num_minibatches: int
) -> Callable[..., Iterator[Epoch]]:
    """Returns ``train`` of a :class:`Pipeline`, with the examples on the devices."""
    num_examples = len(jax.tree.leaves(examples)[0])
    sharding = _train_sharding(mesh, num_minibatches)
    on_devices = resident(examples, mesh)

    def train(first_epoch: int, first_step: int = 0) -> Iterator[Epoch]:
        for epoch in count(first_epoch):
            rows = epoch_rows(
                key, epoch, num_examples, batch_size, num_minibatches, sharding=sharding
            )
            yield (gather(on_devices, step_rows, sharding) for step_rows in rows[first_step:])
            first_step = 0

    return train


def streamed(
    splits: imagenet.Splits,
    info: DatasetInfo,
    mesh: Mesh,
    seed: int,
    *,
    batch_size: int,
    eval_batch_size: int,
    num_minibatches: int = 1,
    eval_test: bool = False,
    workers: int = 0,
) -> Pipeline:
    """Returns a pipeline in which each process reads and decodes its own part of each batch.

    Args:
      splits: the encoded images.
      info: static properties of the dataset.
      mesh: devices that divide each batch.
      seed: determines order, crops and flips.
      batch_size: as for :func:`in_memory`, like the arguments up to ``eval_test``.
      eval_batch_size: see there.
      num_minibatches: see there.
      eval_test: see there.
      workers: number of decoding processes of each process; 0 for threads.
    """
    size = info.image_shape[0]
    steps = steps_per_epoch(info.num_examples, batch_size, num_minibatches)
    sharding = _train_sharding(mesh, num_minibatches)
    batches = imagenet.train_batches(
        splits.train, batch_size, seed, image_size=size, num_minibatches=num_minibatches
    )
    eval_size = round_up(eval_batch_size, mesh.size)

    def train(first_epoch: int, first_step: int = 0) -> Iterator[Epoch]:
        stream = imagenet.stream(batches[first_epoch * steps + first_step :], workers)
        while True:
            epoch = islice(stream, steps - first_step)
            yield (global_batch(batch, sharding) for batch in epoch)
            first_step = 0

    def evaluate(examples: Any) -> Iterator[Examples]:
        eval_batches = imagenet.eval_batches(examples, eval_size, image_size=size)
        for batch in imagenet.stream(eval_batches, workers):
            yield global_batch(batch, batch_sharding(mesh))

    eval_sets = evaluation_sets(splits.val, splits.test, eval_test)
    return Pipeline(
        info,
        partial(mul, steps),
        batch_size * num_minibatches,
        train,
        {name: partial(evaluate, examples) for name, examples in eval_sets.items()},
    )


def steps_per_epoch(num_examples: int, batch_size: int, num_minibatches: int = 1) -> int:
    """Number of whole batches, of ``num_minibatches`` minibatches each."""
    largest = num_examples // num_minibatches
    if not 1 <= batch_size <= largest:
        note = f" with {num_minibatches} minibatches in a step" if num_minibatches > 1 else ""
        raise ValueError(f"batch_size must be in [1, {largest}]{note}, got {batch_size}.")
    return num_examples // (batch_size * num_minibatches)


def evaluation_sets(val: Any, test: Any, eval_test: bool) -> dict[str, Any]:
    """The examples of each split to evaluate on: the held-out ones, else the test set, or both."""
    if val is None:
        return {"test": test}
    return {"val": val, "test": test} if eval_test else {"val": val}


@partial(jax.jit, static_argnums=(2, 3, 4), static_argnames="sharding")
def epoch_rows(
    key: jax.Array,
    epoch: int,
    num_examples: int,
    batch_size: int,
    num_minibatches: int = 1,
    *,
    sharding: NamedSharding,
) -> list[jax.Array]:
    """The rows of each batch of an epoch, ``[example]`` or ``[minibatch, example]``.

    The order is random; the last, partial batch is dropped.
    """
    steps = steps_per_epoch(num_examples, batch_size, num_minibatches)
    rows = jax.random.permutation(jax.random.fold_in(key, epoch), num_examples)
    shape = (num_minibatches, batch_size) if num_minibatches > 1 else (batch_size,)
    rows = rows[: steps * batch_size * num_minibatches].reshape(steps, *shape)
    return [jax.lax.with_sharding_constraint(step_rows, sharding) for step_rows in rows]


@partial(jax.jit, static_argnames="sharding")
def gather(train_set: Batch, rows: jax.Array, sharding: NamedSharding) -> Batch:
    """The batch of these rows of the training set."""
    batch = jax.tree.map(lambda x: x[rows], train_set)
    return jax.lax.with_sharding_constraint(batch, sharding)


def padded_batches(examples: Examples, size: int) -> Iterator[Examples]:
    """Batches of one size, the last one padded with examples labelled ``PADDING``."""
    for start in range(0, len(examples.labels), size):
        yield pad(Examples(*(x[start : start + size] for x in examples)), size)


def _train_sharding(mesh: Mesh, num_minibatches: int) -> NamedSharding:
    return batch_sharding(mesh, axis=1 if num_minibatches > 1 else 0)
