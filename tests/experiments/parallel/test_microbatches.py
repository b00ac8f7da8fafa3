"""m-SAM: independent perturbations per device and per microbatch."""

import jax
import numpy as np
import pytest

from benchmarks.hlo import count_all_reduces
from experiments.parallel.mesh import make_mesh
from experiments.tasks.table import load_dataset
from experiments.training.setup import make_run
from tests.support.training import first_batches, start, take_steps


def after_two_steps(config, num_devices):
    """Weights, statistics and metrics after two steps with the batch divided over the devices."""
    metrics, states = take_steps(config, 2, num_devices)
    return states[-1].params, states[-1].batch_stats, metrics[-1]


def assert_close(first, second):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), first, second)


@pytest.fixture
def config(config):
    config.update(model="dense", train_examples=512, learning_rate=0.05)
    return config


def test_the_devices_together_take_the_step_of_one(config):
    config.update(method="sam", augment=True)
    one = after_two_steps(config, 1)
    assert_close(after_two_steps(config, 4), one)


def test_microbatches_are_the_same_on_any_number_of_devices(config):
    config.update(method="ae_sam", microbatches=4, augment=True)
    one = after_two_steps(config, 1)
    assert_close(after_two_steps(config, 4), one)
    assert one[-1]["applied"] == 1


@pytest.mark.parametrize(
    "method",
    ["none", "lookbehind_asam:alpha=0.5", "lookbehind_sam:k=2,switch_minibatch=true", "ae_sam"],
)
def test_a_device_perturbs_as_a_microbatch_does(config, method):
    config.update(method=method, microbatches=4)
    microbatches = after_two_steps(config, 1)
    config.update(microbatches=1, per_device_perturbation=True)
    assert_close(after_two_steps(config, 4), microbatches)
    if method.startswith("lookbehind_asam"):
        config.per_device_perturbation = False
        with pytest.raises(AssertionError):
            assert_close(after_two_steps(config, 4), microbatches)


@pytest.mark.parametrize("method", ["none", pytest.param("sam", marks=pytest.mark.slow)])
def test_with_statistics_per_device_a_step_takes_one_all_reduce(config, method):
    config.update(model="tiny", method=method, batch_size=32, per_device_perturbation=True)
    trainer, pipeline, state = start(config, 8)
    (batch,) = first_batches(pipeline, 1)
    # Gradient, metrics and running statistics together.
    assert count_all_reduces(trainer.phases[0].step.lower(state, batch).compile().as_text()) == 1


@pytest.mark.slow
def test_the_running_statistics_are_the_means_of_those_of_the_devices(config):
    config.update(model="tiny", batch_size=32, microbatches=4)
    _, expected, _ = after_two_steps(config, 1)
    config.update(microbatches=1, per_device_perturbation=True)
    assert_close(after_two_steps(config, 4)[1], expected)


@pytest.mark.parametrize(
    ("changes", "devices", "message"),
    [
        ({"batch_size": 130}, 4, "multiple of 4, the number of devices, got 130; .* 128 or 132"),
        ({"batch_size": 3}, 4, "multiple of 4, the number of devices, got 3; .*multiples: 4"),
        ({"batch_size": 100, "microbatches": 8}, 1, r"microbatches, got 100; .* 96 or 104"),
        ({"microbatches": 0}, 1, "microbatches must be >= 1, got 0"),
        ({"microbatches": 2, "per_device_perturbation": True}, 4, "^microbatches .*got 2"),
    ],
)
def test_a_batch_size_that_does_not_divide_raises(config, changes, devices, message):
    config.update(changes)
    with pytest.raises(ValueError, match=message):
        after_two_steps(config, devices)


@pytest.mark.parametrize(
    ("asked", "devices", "size"), [(64, 4, 64), (100, 3, 102), (100, 6, 102), (1000, 7, 364)]
)
def test_evaluation_batches_are_padded_for_the_devices(config, asked, devices, size):
    config.update(eval_batch_size=asked, batch_size=devices)
    test = load_dataset(config).test
    _, pipeline = make_run(config, make_mesh(devices))
    batches = list(pipeline.evaluation["test"]())
    assert {len(batch.labels) for batch in batches} == {size}
    images, labels = (np.concatenate(x) for x in zip(*batches, strict=True))
    np.testing.assert_array_equal(labels[:360], test.labels)
    np.testing.assert_array_equal(images[:360], test.images)
    assert (labels[360:] == -1).all()
