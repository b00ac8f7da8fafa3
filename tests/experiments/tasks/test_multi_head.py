"""The task of a stream: own-head loss, padding, and the networks of the benchmarks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from experiments import models
from experiments.data.dataset import Examples
from experiments.tasks.multi_head import multi_head, own_head


@pytest.fixture(scope="module")
def task():
    return multi_head("cnn1_2_4", (4, 4, 1), 3, 2, jnp.zeros(1), jnp.ones(1))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(8, 4, 4, 1)).astype(np.uint8)
    return Examples(images, np.array([5, 0, 2, 3, 1, 4, 4, 2], np.int32))


def test_own_head_loss_equals_slicing():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(12, 20)).astype(np.float32), rng.integers(20, size=12)
    slices = [
        row[5 * (label // 5) : 5 * (label // 5) + 5]
        for row, label in zip(logits, labels, strict=True)
    ]
    cross_entropy = jax.jit(optax.softmax_cross_entropy_with_integer_labels)
    found = cross_entropy(own_head(jnp.array(logits), jnp.array(labels), 5), labels % 5)
    np.testing.assert_array_equal(found, cross_entropy(np.stack(slices), labels % 5))


def test_the_loss_is_the_mean_over_examples_and_padding_counts_for_nothing(task, batch):
    model = task.make_model(jax.random.key(0))
    loss_of, evaluate = nnx.jit(task.loss), nnx.jit(task.evaluate)
    example_losses = nnx.jit(task.example_losses)
    padded = Examples(
        jnp.concatenate([batch.images, 200 * jnp.ones((3, 4, 4, 1), jnp.uint8)]),
        jnp.concatenate([batch.labels, -jnp.ones(3, jnp.int32)]),
    )
    losses = example_losses(model, batch, None)
    for examples in (batch, padded):
        loss, metrics = loss_of(model, examples, None)
        assert loss == pytest.approx(float(losses.mean()), rel=1e-6)
        sums = evaluate(model, examples)
        assert sums["examples"] == 8
        assert sums["loss"] == pytest.approx(float(losses.sum()), rel=1e-6)
        assert metrics["accuracy"] == sums["accuracy"] / 8
    np.testing.assert_array_equal(example_losses(model, padded, None)[8:], 0)


def test_a_model_with_dropout_draws_from_the_key_in_training_only(batch):
    task = multi_head(
        "tests.support.own_model:OwnModel", (4, 4, 1), 3, 2, jnp.zeros(1), 100 * jnp.ones(1)
    )
    graphdef, state = nnx.split(task.make_model(jax.random.key(0)))

    def losses(function, train, *key):
        model = nnx.merge(graphdef, state, copy=True)
        model.train() if train else model.eval()
        return function(model, batch, *key)

    first, again, other = (losses(task.loss, True, jax.random.key(n))[0] for n in (0, 0, 1))
    assert first == again
    assert first != other
    assert losses(task.evaluate, False)["loss"] > 0


def test_only_the_own_head_gets_a_gradient(task, batch):
    graphdef, params = nnx.split(task.make_model(jax.random.key(0)))
    second_task = Examples(batch.images, np.full(8, 3, np.int32))
    loss = jax.jit(jax.grad(lambda p: task.loss(nnx.merge(graphdef, p), second_task, None)[0]))
    grads = loss(params)
    head = grads["linears"][2]["kernel"][...]
    assert np.all(head[:, [0, 1, 4, 5]] == 0)
    assert np.any(head[:, [2, 3]] != 0)


def test_augmentation_sees_the_images_only(batch):
    task = multi_head(
        "cnn1_2_4", (4, 4, 1), 3, 2, jnp.zeros(1), jnp.ones(1), augment=lambda key, x: x + 1
    )
    changed = task.augment(jax.random.key(0), batch)
    np.testing.assert_array_equal(changed.images, batch.images + 1)
    np.testing.assert_array_equal(changed.labels, batch.labels)


@pytest.mark.parametrize(
    ("name", "image_size", "classes", "parameters"),
    [("cnn3_160_320", 32, 100, 1_419_940), ("cnn4_160_640", 64, 200, 2_873_640)],
)
def test_networks_have_the_parameters_of_the_benchmarks(name, image_size, classes, parameters):
    model = nnx.eval_shape(
        lambda: models.build(name, classes, 3, image_size=image_size, rngs=nnx.Rngs(0))
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model))) == parameters


def test_weights_start_as_kaiming_normal():
    model = models.build("cnn1_64_64", 10, 16, image_size=4, rngs=nnx.Rngs(0))
    kernel, linear = model.convs[0].kernel[...], model.linears[0].kernel[...]
    assert kernel.std() == pytest.approx((2 / (9 * 16)) ** 0.5, rel=0.03)
    assert linear.shape == (64 * 2 * 2, 64)
    assert linear.std() == pytest.approx((2 / 256) ** 0.5, rel=0.03)
    assert not np.any(model.linears[0].bias[...])
