"""Class-incremental streams: classes, labels, held-out examples, orders."""

import numpy as np
import pytest

from experiments import data
from experiments.continual.stream import (
    batches_per_epoch,
    class_incremental,
    epoch_order,
    padded_batches,
)
from experiments.data.dataset import Dataset, Examples


@pytest.fixture(scope="module")
def dataset():
    """Six classes of 20 training and 5 test images; each image is its own number."""

    def split(start, per_class):
        numbers = np.arange(start, start + 6 * per_class, dtype=np.int32)
        images = np.broadcast_to(numbers[:, None, None, None], (len(numbers), 2, 2, 1))
        return Examples(images, (numbers % 6).astype(np.int32))

    return Dataset(split(0, 20), split(1000, 5), 6, np.zeros(1), np.ones(1))


def numbers(examples):
    return set(examples.images[:, 0, 0, 0].tolist())


def test_tasks_partition_the_classes_and_labels_carry_the_task(dataset):
    stream = class_incremental(dataset, 3, 2, seed=4)
    assert sorted(stream.class_order) == list(range(6))
    for part, per_class in (("train", 20), ("evaluation", 5)):
        for task, examples in enumerate(getattr(stream, part)):
            assert np.bincount(examples.labels - 2 * task).tolist() == [per_class] * 2
            originals = [stream.class_order[label] for label in examples.labels]
            np.testing.assert_array_equal(examples.images[:, 0, 0, 0] % 6, originals)


def test_the_seed_decides_the_class_order_and_nothing_else(dataset):
    first, again, other = (
        class_incremental(dataset, 3, 2, seed=s, held_out=0.1) for s in (0, 0, 1)
    )
    assert first.class_order == again.class_order != other.class_order
    seen = [set().union(*map(numbers, s.train)) for s in (first, other)]
    assert seen[0] == seen[1]


def test_a_tenth_of_each_class_is_held_out(dataset):
    stream = class_incremental(dataset, 3, 2, seed=0, held_out=0.1)
    validation = class_incremental(dataset, 3, 2, seed=0, held_out=0.1, evaluate_on="validation")
    for task in range(3):
        assert np.bincount(stream.train[task].labels - 2 * task).tolist() == [18, 18]
        assert np.bincount(validation.evaluation[task].labels - 2 * task).tolist() == [2, 2]
        assert not numbers(stream.train[task]) & numbers(validation.evaluation[task])


def test_no_test_image_is_trained_on(dataset):
    stream = class_incremental(dataset, 3, 2, seed=0, held_out=0.1)
    trained = set().union(*map(numbers, stream.train))
    assert max(trained) < 1000 <= min(set().union(*map(numbers, stream.evaluation)))


def test_fewer_tasks_and_examples(dataset):
    stream = class_incremental(dataset, 2, 2, seed=0, examples_per_class=7)
    assert [len(task.labels) for task in stream.train] == [14, 14]
    assert [len(task.labels) for task in stream.evaluation] == [10, 10]


def test_split_digits_has_five_tasks_of_two():
    stream = class_incremental(data.load("digits"), 5, 2, seed=0, held_out=0.1)
    assert stream.tasks == 5
    assert stream.image_shape == (8, 8, 1)
    assert sum(len(task.labels) for task in stream.train) == round(0.9 * 1437)


def test_an_epoch_order_is_a_permutation_of_its_own():
    orders = [epoch_order(seed, task, epoch, 23, 5) for seed, task, epoch in np.ndindex(2, 2, 2)]
    for order in orders:
        assert order.shape == (4, 5)
        assert len(set(order.ravel())) == 20
    assert len({order.tobytes() for order in orders}) == len(orders)
    np.testing.assert_array_equal(orders[0], epoch_order(0, 0, 0, 23, 5))


def test_padding_fills_the_last_batch(dataset):
    batches = list(padded_batches(dataset.test, 8))
    assert {batch.images.shape for batch in batches} == {(8, 2, 2, 1)}
    labels = np.concatenate([batch.labels for batch in batches])
    np.testing.assert_array_equal(labels[:30], dataset.test.labels)
    assert set(labels[30:]) == {-1}


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"tasks": 4}, "tasks.*6.*4 \\* 2"),
        ({"tasks": 0}, "tasks.*0"),
        ({"classes_per_task": 0}, "classes_per_task.*0"),
        ({"held_out": 1.0}, "held_out.*1.0"),
        ({"evaluate_on": "train"}, "evaluate_on.*'train'"),
        ({"evaluate_on": "validation"}, "evaluate_on.*held_out"),
        ({"examples_per_class": 0}, "examples_per_class.*0"),
    ],
)
def test_invalid_arguments_raise(dataset, changes, pattern):
    arguments = {"tasks": 3, "classes_per_task": 2, "seed": 0} | changes
    with pytest.raises(ValueError, match=pattern):
        class_incremental(dataset, **arguments)


@pytest.mark.parametrize("batch_size", [0, 24])
def test_a_batch_larger_than_a_task_raises(batch_size):
    with pytest.raises(ValueError, match=f"batch_size.*{batch_size}"):
        batches_per_epoch(23, batch_size)
