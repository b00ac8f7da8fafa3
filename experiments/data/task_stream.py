"""Class-incremental streams: a labelled image set as a sequence of tasks with classes of their own.

Labels are renumbered by their position in the class order, so that they carry the task:
``task = label // classes_per_task``.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.data.dataset import Array, Dataset, Examples
from experiments.data.pipeline import Pipeline, evaluation_sets, padded_batches, steps_per_epoch
from experiments.parallel.mesh import replicated


class TaskStream(NamedTuple):
    """A sequence of tasks.

    Attributes:
      train: the training examples of each task, labels renumbered.
      evaluation: split -> examples of each task to evaluate on; "val", "test" or both.
      class_order: original label of each class, ``[task * classes_per_task]``.
      classes_per_task: number of classes of a task.
    """

    train: list[Examples]
    evaluation: Mapping[str, list[Examples]]
    class_order: list[int]
    classes_per_task: int

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return len(self.train)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.train[0].images.shape[1:]


def class_incremental(
    dataset: Dataset, tasks: int, classes_per_task: int, *, seed: int, eval_test: bool = True
) -> TaskStream:
    """Divides a dataset into tasks.

    As in La-MAML's loader: the seed shuffles all classes, and tasks are consecutive blocks of that
    order. Which examples are held out (:func:`~experiments.data.splits.hold_out`) does not depend
    on this seed.

    Args:
      dataset: any labelled image set.
      tasks: number of tasks.
      classes_per_task: number of classes of a task.
      seed: decides the order of the classes.
      eval_test: whether to evaluate on the test set in addition to ``dataset.val``.

    Raises:
      ValueError: if the dataset has fewer than ``tasks * classes_per_task`` classes, or no training
        examples of one of them.
    """
    _check(dataset, tasks, classes_per_task)
    order = list(range(dataset.num_classes))
    random.Random(seed).shuffle(order)
    blocks = np.reshape(order[: tasks * classes_per_task], (tasks, classes_per_task))
    train = _tasks(dataset.train, blocks)
    for label, count in zip(blocks.ravel(), _counts(train, blocks.size), strict=True):
        if not count:
            raise ValueError(
                f"train_examples must leave examples of every class, but class {label} has none."
            )
    return TaskStream(
        train=train,
        evaluation={
            split: _tasks(examples, blocks)
            for split, examples in evaluation_sets(dataset.val, dataset.test, eval_test).items()
        },
        class_order=blocks.ravel().tolist(),
        classes_per_task=classes_per_task,
    )


def joint_dataset(dataset: Dataset, stream: TaskStream) -> Dataset:
    """All tasks at once, as a dataset with the stream's labels."""
    val = stream.evaluation.get("val")
    return dataset._replace(
        train=_concatenate(stream.train),
        test=_concatenate(stream.evaluation.get("test", [dataset.test])),
        val=None if val is None else _concatenate(val),
        num_classes=len(stream.class_order),
    )


def epoch_rows(seed: int, task: int, epoch: int, examples: int, batch_size: int) -> np.ndarray:
    """The rows of each batch of an epoch of a task, ``[batch, row]``; a partial batch is dropped.

    A pure function of its arguments: a run resumes without a state of the data pipeline.
    """
    batches = steps_per_epoch(examples, batch_size)
    rows = np.random.default_rng([seed, task, epoch]).permutation(examples)
    return rows[: batches * batch_size].reshape(batches, batch_size)


def _tasks(examples: Examples, blocks: np.ndarray) -> list[Examples]:
    """The examples of each task, class after class, their labels renumbered."""
    return [_task(examples, classes, task * len(classes)) for task, classes in enumerate(blocks)]


def _task(examples: Examples, classes: Sequence[int], first_label: int) -> Examples:
    rows = [np.flatnonzero(examples.labels == label) for label in classes]
    labels = np.repeat(np.arange(len(classes)), [len(r) for r in rows]) + first_label
    return Examples(examples.images[np.concatenate(rows)], labels.astype(np.int32))


def _concatenate(tasks: Sequence[Examples]) -> Examples:
    return Examples(*map(np.concatenate, zip(*tasks, strict=True)))


def _counts(tasks: Sequence[Examples], number: int) -> np.ndarray:
    """Number of examples of each class."""
    labels = np.concatenate([task.labels for task in tasks])
    return np.bincount(labels, minlength=number)


def _check(dataset: Dataset, tasks: int, classes_per_task: int) -> None:
    for name, value in {"tasks": tasks, "classes_per_task": classes_per_task}.items():
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}.")
    if tasks * classes_per_task > dataset.num_classes:
        raise ValueError(
            f"tasks * classes_per_task must be at most {dataset.num_classes}, the number of "
            f"classes, got {tasks} * {classes_per_task}."
        )


class StreamBatch(NamedTuple):
    """A batch of the current task.

    Attributes:
      examples: images and labels.
      number: number of the step within the run, from 0, int32.
      store: whether to offer the examples to the memory after the step.
    """

    examples: Examples
    number: Array
    store: Array


def split_name(split: str, task: int) -> str:
    """Name of the evaluation on a task, from 0, and prefix of its metrics: ``test_task01``."""
    return f"{split}_task{task + 1:02d}"


def stream_pipeline(
    stream: TaskStream,
    mesh: Mesh,
    seed: int,
    *,
    batch_size: int,
    eval_batch_size: int,
    epochs_per_task: int,
    glances: int = 1,
    stores: Callable[[int], bool] = lambda epoch: True,
) -> Pipeline:
    """Returns a pipeline of :class:`StreamBatch`: some epochs of each task, then of the next.

    Args:
      stream: the tasks.
      mesh: the devices, each of which gets the whole batches.
      seed: decides the order of the examples.
      batch_size: number of examples of a batch; a partial batch of an epoch is dropped.
      eval_batch_size: the same for evaluation, where the last batch is padded.
      epochs_per_task: number of epochs of each task.
      glances: number of steps in a row on the same batch, the last of which stores it.
      stores: ``(epoch of the task) -> whether its batches are stored``.
    """
    sharding = replicated(mesh)
    lengths = [steps_per_epoch(len(task.labels), batch_size) * glances for task in stream.train]
    steps = [0, *accumulate(length for length in lengths for _ in range(epochs_per_task))]

    def batches(epoch: int, first_step: int) -> Iterator[StreamBatch]:
        task, task_epoch = divmod(epoch, epochs_per_task)
        examples, stored = stream.train[task], stores(task_epoch)
        rows = epoch_rows(seed, task, task_epoch, len(examples.labels), batch_size)
        for step in range(first_step, lengths[task]):
            batch = Examples(*(x[rows[step // glances]] for x in examples))
            number, is_last_glance = np.int32(steps[epoch] + step), (step + 1) % glances == 0
            store = np.bool_(stored and is_last_glance)
            yield jax.device_put(StreamBatch(batch, number, store), sharding)

    def train(first_epoch: int, first_step: int = 0) -> Iterator[Iterator[StreamBatch]]:
        for epoch in range(first_epoch, len(steps) - 1):
            yield batches(epoch, first_step)
            first_step = 0

    def evaluate(examples: Examples, size: int) -> Iterator[Examples]:
        return (jax.device_put(batch, sharding) for batch in padded_batches(examples, size))

    evaluation = {}
    for split, tasks in stream.evaluation.items():
        size = min(eval_batch_size, max(len(examples.labels) for examples in tasks))
        for task, examples in enumerate(tasks):
            evaluation[split_name(split, task)] = partial(evaluate, examples, size)
    return Pipeline(stream, steps.__getitem__, batch_size, train, evaluation)
