"""Class-incremental streams: a labelled image set as a sequence of tasks with classes of their own.

Labels are renumbered by their position in the class order, so that they carry the task:
``task = label // classes_per_task``.
"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.data.dataset import Dataset, Examples
from experiments.data.pipeline import evaluation_sets, steps_per_epoch


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
