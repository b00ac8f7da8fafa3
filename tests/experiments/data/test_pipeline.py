"""Batches of a run: minibatches of a step, and the splits to evaluate on."""

import jax
import numpy as np
import pytest

from experiments.data import pipeline
from experiments.data.dataset import PADDING, Dataset, Examples
from experiments.data.images import imagenet
from experiments.parallel.mesh import make_mesh
from experiments.training.setup import make_run
from tests.support.training import assert_epochs_continue_within


def labelled(number, start=0):
    """Black images that are told apart by their labels."""
    return Examples(
        np.zeros((number, 2, 2, 1), np.uint8), np.arange(start, start + number, dtype=np.int32)
    )


def in_memory(num_devices=1, val=None, **options):
    dataset = Dataset(labelled(22), labelled(5, 100), 10, np.zeros(1), np.ones(1), val=val)
    sizes = {"batch_size": 4, "eval_batch_size": 4} | options
    return pipeline.in_memory(dataset, make_mesh(num_devices), jax.random.key(0), **sizes)


@pytest.mark.parametrize(("minibatches", "steps"), [(1, 5), (2, 2), (5, 1)])
def test_a_step_has_its_minibatches_and_an_epoch_repeats_no_example(minibatches, steps):
    pipe = in_memory(num_minibatches=minibatches)
    epochs = pipe.train(0)
    for _ in range(2):
        labels = np.array([batch.labels for batch in next(epochs)])
        stacked = (minibatches, 4) if minibatches > 1 else (4,)
        assert labels.shape == (steps, *stacked)
        assert len(np.unique(labels)) == labels.size
    assert (pipe.steps(1), pipe.examples_per_step) == (steps, 4 * minibatches)


def test_an_epoch_depends_on_its_number_only():
    resumed = [batch.labels for batch in next(in_memory().train(1))]
    epochs = in_memory().train(0)
    next(epochs)
    np.testing.assert_array_equal(resumed, [batch.labels for batch in next(epochs)])


@pytest.mark.parametrize("minibatches", [1, 2])
def test_an_epoch_resumes_at_a_step(minibatches):
    assert_epochs_continue_within(in_memory(num_minibatches=minibatches))


def test_minibatches_are_divided_over_the_devices():
    (batch, *_) = next(in_memory(2, num_minibatches=2).train(0))
    assert {shard.data.shape for shard in batch.labels.addressable_shards} == {(2, 2)}


def test_too_many_minibatches_raise():
    with pytest.raises(ValueError, match=r"batch_size must be in \[1, 3\] with 7 .* got 4"):
        in_memory(num_minibatches=7)


def test_evaluation_batches_have_one_size_and_padding():
    batches = list(in_memory().evaluation["test"]())
    labels = np.array([batch.labels for batch in batches])
    np.testing.assert_array_equal(labels, [[100, 101, 102, 103], [104, *[PADDING] * 3]])


@pytest.mark.parametrize(
    ("val", "eval_test", "splits"),
    [
        (None, False, ["test"]),
        (None, True, ["test"]),
        (labelled(3), False, ["val"]),
        (labelled(3), True, ["val", "test"]),
    ],
)
def test_held_out_examples_replace_the_test_set_unless_both_are_requested(val, eval_test, splits):
    assert list(in_memory(val=val, eval_test=eval_test).evaluation) == splits


def test_a_run_switches_between_methods_of_as_many_minibatches_only(config):
    config.update(method="sam", switch=((1, "lookbehind_sam:k=3,switch_minibatch=true"),))
    with pytest.raises(ValueError, match=r"switch must be .* minibatches.*'sam': 1.* 3"):
        make_run(config)


def test_streamed_minibatches_are_those_of_smaller_steps(monkeypatch):
    source = imagenet.grain.MapDataset.range(22).map(lambda i: {"image": i, "label": i})
    monkeypatch.setattr(
        imagenet, "_train_example", lambda element, rng, size: np.int32(element["label"])
    )
    one = imagenet.train_batches(source, 4, seed=0)
    two = imagenet.train_batches(source, 4, seed=0, num_minibatches=2)
    np.testing.assert_array_equal(two[0], [one[0], one[1]])
    np.testing.assert_array_equal(two[1], [one[2], one[3]])
    assert two[2].shape == (2, 4)  # the next epoch: its fifth batch alone is dropped
