"""Class-incremental streams: classes, labels, held-out examples, orders."""

import numpy as np
import pytest

from experiments import data
from experiments.data.dataset import Dataset, Examples
from experiments.data.splits import hold_out, take
from experiments.data.task_stream import class_incremental, epoch_rows, joint_dataset


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
    for tasks, per_class in ((stream.train, 20), (stream.evaluation["test"], 5)):
        for task, examples in enumerate(tasks):
            assert np.bincount(examples.labels - 2 * task).tolist() == [per_class] * 2
            originals = [stream.class_order[label] for label in examples.labels]
            np.testing.assert_array_equal(examples.images[:, 0, 0, 0] % 6, originals)


def test_the_seed_decides_the_class_order_and_nothing_else(dataset):
    dataset = hold_out(dataset, 0.1)
    first, again, other = (class_incremental(dataset, 3, 2, seed=s) for s in (0, 0, 1))
    assert first.class_order == again.class_order != other.class_order
    seen = [set().union(*map(numbers, s.train)) for s in (first, other)]
    assert seen[0] == seen[1]


def test_a_tenth_of_each_class_is_held_out(dataset):
    stream = class_incremental(hold_out(dataset, 0.1), 3, 2, seed=0)
    assert set(stream.evaluation) == {"val", "test"}
    for task in range(3):
        assert np.bincount(stream.train[task].labels - 2 * task).tolist() == [18, 18]
        held_out = stream.evaluation["val"][task]
        assert np.bincount(held_out.labels - 2 * task).tolist() == [2, 2]
        assert not numbers(stream.train[task]) & numbers(held_out)


def test_the_test_set_can_be_left_alone(dataset):
    stream = class_incremental(hold_out(dataset, 0.1), 3, 2, seed=0, eval_test=False)
    assert set(stream.evaluation) == {"val"}


def test_no_test_image_is_trained_on(dataset):
    stream = class_incremental(hold_out(dataset, 0.1), 3, 2, seed=0)
    trained = set().union(*map(numbers, stream.train))
    assert max(trained) < 1000 <= min(set().union(*map(numbers, stream.evaluation["test"])))


def test_fewer_tasks_use_fewer_classes(dataset):
    stream = class_incremental(dataset, 2, 2, seed=0)
    assert [len(task.labels) for task in stream.train] == [40, 40]
    assert [len(task.labels) for task in stream.evaluation["test"]] == [10, 10]


def test_the_joint_dataset_has_all_tasks_with_their_labels(dataset):
    stream = class_incremental(hold_out(dataset, 0.1), 2, 2, seed=0)
    joint = joint_dataset(dataset, stream)
    assert joint.num_classes == 4
    assert np.bincount(joint.train.labels).tolist() == [18] * 4
    assert np.bincount(joint.val.labels).tolist() == [2] * 4
    assert np.bincount(joint.test.labels).tolist() == [5] * 4


def test_split_digits_has_five_tasks_of_two():
    stream = class_incremental(hold_out(data.load("digits"), 0.1), 5, 2, seed=0)
    assert stream.tasks == 5
    assert stream.image_shape == (8, 8, 1)
    assert sum(len(task.labels) for task in stream.train) == round(0.9 * 1437)


def test_an_epoch_order_is_a_permutation_of_its_own():
    orders = [epoch_rows(seed, task, epoch, 23, 5) for seed, task, epoch in np.ndindex(2, 2, 2)]
    for order in orders:
        assert order.shape == (4, 5)
        assert len(set(order.ravel())) == 20
    assert len({order.tobytes() for order in orders}) == len(orders)
    np.testing.assert_array_equal(orders[0], epoch_rows(0, 0, 0, 23, 5))


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"tasks": 4}, "tasks.*6.*4 \\* 2"),
        ({"tasks": 0}, "tasks.*0"),
        ({"classes_per_task": 0}, "classes_per_task.*0"),
    ],
)
def test_invalid_arguments_raise(dataset, changes, pattern):
    arguments = {"tasks": 3, "classes_per_task": 2, "seed": 0} | changes
    with pytest.raises(ValueError, match=pattern):
        class_incremental(dataset, **arguments)


def test_a_class_without_training_examples_raises(dataset):
    with pytest.raises(ValueError, match="train_examples"):
        class_incremental(take(dataset, 5), 3, 2, seed=0)
