"""A training step: dropout keys, switched minibatches."""

from collections import Counter

import chex
import jax
import numpy as np
import optax
import pytest
from flax import nnx

from experiments.tasks import table
from tests.support.training import first_batches, start


@pytest.fixture
def config(config):
    config.update(model="dense", train_examples=512, batch_size=64, learning_rate=0.05)
    return config


@pytest.fixture
def dropout_keys(monkeypatch):
    """The keys that the loss is called with, in no particular order."""
    seen = []
    record = lambda data: seen.append(tuple(data.tolist()))
    make = table.classification_task

    def with_record(config, info):
        task = make(config, info)

        def loss(model, batch, key):
            jax.debug.callback(record, jax.random.key_data(key))
            return task.loss(model, batch, key)

        return task._replace(loss=loss)

    monkeypatch.setattr(table, "classification_task", with_record)
    return seen


def keys_of_a_step(config, dropout_keys):
    trainer, pipeline, state = start(config)
    steps = []
    for batch in first_batches(pipeline, 2):
        state, _ = trainer.phases[0].step(state, batch)
        jax.effects_barrier()
        steps.append(Counter(dropout_keys))
        dropout_keys.clear()
    assert not steps[0].keys() & steps[1].keys()
    return steps[0]


def test_all_passes_of_a_step_have_one_dropout_key(config, dropout_keys):
    config.method = "lookbehind_sam:k=3"
    (uses,) = keys_of_a_step(config, dropout_keys).values()
    assert uses == 4


def test_each_switched_minibatch_has_a_dropout_key(config, dropout_keys):
    config.method = "lookbehind_sam:k=3,switch_minibatch=true"
    assert list(keys_of_a_step(config, dropout_keys).values()) == [2, 2, 2]


def test_each_microbatch_has_a_dropout_key(config, dropout_keys):
    config.update(method="sam", microbatches=4)
    assert list(keys_of_a_step(config, dropout_keys).values()) == [2, 2, 2, 2]


@pytest.mark.parametrize("fast_optimizer", ["true", "false"])
def test_inner_steps_switch_minibatches_and_learning_rates(config, fast_optimizer):
    k, rho, alpha = 3, 0.1, 0.5
    options = f"k={k},rho={rho},alpha={alpha},fast_optimizer={fast_optimizer}"
    config.update(
        method=f"lookbehind_sam:{options},switch_minibatch=true", momentum=0.0, weight_decay=0.0
    )
    trainer, pipeline, state = start(config)
    (batch,) = first_batches(pipeline, 1)
    task = table.classification_task(config, pipeline.info)
    graphdef = nnx.graphdef(task.make_model(jax.random.key(0)))

    def loss(params, minibatch):
        model = nnx.merge(graphdef, params, state.batch_stats, copy=True)
        model.train()
        return task.loss(model, minibatch, None)[0]

    inside = fast_optimizer == "true"
    updates = pipeline.steps(2) * (k if inside else 1)  # of the optimizer, in two epochs
    params, fast = state.params, state.params
    for i in range(k):
        rate = config.learning_rate / 2 * (1 + np.cos(np.pi * (i if inside else 0) / updates))
        minibatch = jax.tree.map(lambda x, i=i: x[i], batch)
        ascent = jax.grad(loss)(params, minibatch)
        scale = rho / optax.tree.norm(ascent)
        params = jax.tree.map(lambda w, g, s=scale: w + s * g, params, ascent)
        descent = jax.grad(loss)(params, minibatch)
        fast = jax.tree.map(lambda w, g, r=rate: w - r * g, fast, descent)
    expected = jax.tree.map(lambda w, f: w + alpha * (f - w), state.params, fast)
    stepped, _ = trainer.phases[0].step(state, batch)
    chex.assert_trees_all_close(stepped.params, expected, rtol=1e-4, atol=1e-6)
