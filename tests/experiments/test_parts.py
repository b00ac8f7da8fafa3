"""Batches in parts: per device and in microbatches, with every method."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from experiments.data import pipeline as feeds
from experiments.parallel.mesh import divided, make_mesh, place, replicated
from experiments.training.setup import build_program, compiled


def after_two_steps(config, mesh: Mesh):
    """State and metrics after two steps with the batch divided over the mesh."""
    dataset = feeds.load(config)
    program = compiled(build_program(config, feeds.facts_of(dataset), feeds.select_rows, mesh))
    state = place(program.init(jax.random.key(0)), replicated(mesh))
    train = place(dataset.train, replicated(mesh))
    for rows in program.order(jax.random.key(1), 0)[:2]:
        state, metrics = program.step(state, train, place(rows, divided(mesh)))
    return jax.device_get((state.params, state.batch_stats, metrics))


def assert_close(first, second):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), first, second)


@pytest.fixture
def config(config):
    config.update(model="dense", train_examples=512, learning_rate=0.05)
    return config


def test_the_devices_together_take_the_step_of_one(config):
    config.update(method="sam", augment=True)
    one = after_two_steps(config, make_mesh(1))
    assert_close(after_two_steps(config, make_mesh(4)), one)


def test_microbatches_are_the_same_on_any_number_of_devices(config):
    config.update(method="ae_sam", microbatches=4, augment=True)
    one = after_two_steps(config, make_mesh(1))
    assert_close(after_two_steps(config, make_mesh(4)), one)
    assert one[-1]["applied"] == 1


@pytest.mark.parametrize("method", ["none", "lookbehind_asam:alpha=0.5", "ae_sam"])
def test_a_device_perturbs_as_a_microbatch_does(config, method):
    config.update(method=method, microbatches=4)
    microbatches = after_two_steps(config, make_mesh(1))
    config.update(microbatches=1, per_device_perturbation=True)
    assert_close(after_two_steps(config, make_mesh(4)), microbatches)
    if method.startswith("lookbehind_asam"):
        config.per_device_perturbation = False
        with pytest.raises(AssertionError):
            assert_close(after_two_steps(config, make_mesh(4)), microbatches)


@pytest.mark.parametrize(
    ("changes", "devices", "message"),
    [
        ({"batch_size": 130}, 4, "multiple of 4, the number of devices, got 130; .* 128 or 132"),
        ({"batch_size": 3}, 4, "multiple of 4, the number of devices, got 3; .*work: 4"),
        ({"batch_size": 100, "microbatches": 8}, 1, r"microbatches, got 100; .* 96 or 104"),
        ({"microbatches": 0}, 1, "microbatches must be >= 1, got 0"),
        ({"microbatches": 2, "per_device_perturbation": True}, 4, "exclude each other"),
    ],
)
def test_a_batch_that_cannot_be_divided_is_refused(config, changes, devices, message):
    config.update(changes)
    with pytest.raises(ValueError, match=message):
        after_two_steps(config, make_mesh(devices))


@pytest.mark.parametrize(
    ("asked", "devices", "size"), [(64, 4, 64), (100, 3, 102), (100, 6, 102), (1000, 7, 364)]
)
def test_evaluation_batches_are_filled_up_to_what_the_devices_divide(config, asked, devices, size):
    config.eval_batch_size = asked
    test = feeds.load(config).test
    batches = list(feeds.padded(test, config, make_mesh(devices)))
    assert {len(batch.labels) for batch in batches} == {size}
    images, labels = (np.concatenate(x) for x in zip(*batches, strict=True))
    np.testing.assert_array_equal(labels[:360], test.labels)
    np.testing.assert_array_equal(images[:360], test.images)
    assert (labels[360:] == -1).all()
