"""Class-incremental streams: a labelled image set as a sequence of tasks with classes of their own.

Labels are renumbered by their position in the class order, so that they carry the task:
``task = label // classes_per_task``.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from experiments.data.dataset import PADDING, Dataset, Examples
from experiments.data.splits import hold_out


class Stream(NamedTuple):
    """A sequence of tasks.

    Attributes:
      train: the training examples of each task, labels renumbered.
      evaluation: the examples that each task is evaluated on.
      class_order: original label of each class, ``[task * classes_per_task]``.
      classes_per_task: number of classes of a task.
      mean: mean of the stored images per channel; models see ``(images - mean) / std``.
      std: standard deviation likewise.
    """

    train: list[Examples]
    evaluation: list[Examples]
    class_order: list[int]
    classes_per_task: int
    mean: np.ndarray
    std: np.ndarray

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return len(self.train)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.train[0].images.shape[1:]


def class_incremental(
    dataset: Dataset,
    tasks: int,
    classes_per_task: int,
    *,
    seed: int,
    held_out: float = 0.0,
    evaluate_on: str = "test",
    examples_per_class: int | None = None,
) -> Stream:
    """Divides a dataset into tasks.

    As in La-MAML's loader: the seed shuffles all classes, and tasks are consecutive blocks of that
    order. The held-out examples do not depend on the seed.

    Args:
      dataset: any labelled image set.
      tasks: number of tasks.
      classes_per_task: number of classes of a task.
      seed: decides the order of the classes.
      held_out: fraction of each class of the training set that is not trained on, in [0, 1).
      evaluate_on: ``"test"``, or ``"validation"`` for the held-out examples.
      examples_per_class: training examples of each class, a fixed choice; default None: all.

    Raises:
      ValueError: unless the dataset has enough classes, and examples to hold out.
    """
    _check(dataset, tasks, classes_per_task, held_out, evaluate_on, examples_per_class)
    split = hold_out(dataset, held_out)
    evaluation = dataset.test if evaluate_on == "test" or split.val is None else split.val
    order = list(range(dataset.num_classes))
    random.Random(seed).shuffle(order)
    order = order[: tasks * classes_per_task]
    blocks = np.reshape(order, (tasks, classes_per_task))
    train = [_task(split.train, block, t, examples_per_class) for t, block in enumerate(blocks)]
    for t, examples in enumerate(train):
        if not len(examples.labels):
            raise ValueError(f"task {t + 1} has no training examples.")
    return Stream(
        train=train,
        evaluation=[_task(evaluation, block, t) for t, block in enumerate(blocks)],
        class_order=order,
        classes_per_task=classes_per_task,
        mean=dataset.mean,
        std=dataset.std,
    )


def epoch_order(seed: int, task: int, epoch: int, examples: int, batch_size: int) -> np.ndarray:
    """The rows of each batch of an epoch of a task, ``[batch, row]``; a partial batch is dropped.

    A pure function of its arguments: a run resumes without a state of the data pipeline.
    """
    batches = batches_per_epoch(examples, batch_size)
    rows = np.random.default_rng([seed, task, epoch]).permutation(examples)
    return rows[: batches * batch_size].reshape(batches, batch_size)


def batches_per_epoch(examples: int, batch_size: int) -> int:
    """Number of whole batches."""
    if not 1 <= batch_size <= examples:
        raise ValueError(
            f"batch_size must be in [1, {examples}], the examples of the smallest task, got "
            f"{batch_size}."
        )
    return examples // batch_size


def padded_batches(examples: Examples, batch_size: int) -> Iterator[Examples]:
    """Batches of one size; the last one is filled up with rows labelled ``PADDING``."""
    for start in range(0, len(examples.labels), batch_size):
        images, labels = (x[start : start + batch_size] for x in examples)
        missing = batch_size - len(labels)
        yield Examples(
            np.pad(images, ((0, missing), *((0, 0),) * 3)),
            np.pad(labels, (0, missing), constant_values=PADDING),
        )


def _task(
    examples: Examples, classes: np.ndarray, task: int, examples_per_class: int | None = None
) -> Examples:
    """The examples of some classes, class after class, their labels renumbered."""
    rows = [np.flatnonzero(examples.labels == label)[:examples_per_class] for label in classes]
    first = task * len(classes)
    labels = np.repeat(np.arange(first, first + len(classes)), [len(r) for r in rows])
    return Examples(examples.images[np.concatenate(rows)], labels.astype(np.int32))


def _check(
    dataset: Dataset,
    tasks: int,
    classes_per_task: int,
    held_out: float,
    evaluate_on: str,
    examples_per_class: int | None,
) -> None:
    for name, value in {"tasks": tasks, "classes_per_task": classes_per_task}.items():
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}.")
    if tasks * classes_per_task > dataset.num_classes:
        raise ValueError(
            f"tasks * classes_per_task must be at most {dataset.num_classes}, the number of "
            f"classes, got {tasks} * {classes_per_task}."
        )
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out must be a fraction in [0, 1), got {held_out}.")
    if evaluate_on not in ("test", "validation"):
        raise ValueError(f"evaluate_on must be 'test' or 'validation', got {evaluate_on!r}.")
    if evaluate_on == "validation" and held_out == 0:
        raise ValueError("evaluate_on='validation' needs held_out > 0, got 0.")
    if examples_per_class is not None and examples_per_class < 1:
        raise ValueError(f"examples_per_class must be >= 1, got {examples_per_class}.")
