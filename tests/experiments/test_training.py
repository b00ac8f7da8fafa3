"""Training steps of every method on a model with BatchNorm, and the loop around them."""

import chex
import jax
import numpy as np
import pytest

from experiments.configs import digits
from experiments.data import pipeline as feeds
from experiments.methods.table import METHODS
from experiments.training.setup import compiled, fetch_metrics, make_program, run_epochs


def prepare(config):
    dataset = feeds.load(config)
    return dataset, make_program(config, dataset)


def train(config, steps):
    """Metrics of each step, and the BatchNorm statistics after each."""
    dataset, program = prepare(config)
    state, metrics, batch_stats = program.init(jax.random.key(0)), [], []
    step = jax.jit(program.step)
    for rows in program.order(jax.random.key(1), 0)[:steps]:
        state, step_metrics = step(state, dataset.train, rows)
        metrics.append(jax.device_get(step_metrics))
        batch_stats.append(state.batch_stats)
    return metrics, batch_stats


@pytest.fixture(scope="module")
def after_sgd(_tiny_model):
    """What one step of SGD on the same batch from the same weights reports and keeps."""
    config = digits.get_config()
    config.update(model="tiny", method="sgd")
    return train(config, 1)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_keeps_the_clean_statistics(config, name, after_sgd):
    config.update(method=name, learning_rate=0.05)
    metrics, batch_stats = train(config, 10)
    losses = [m["loss"] for m in metrics]
    assert losses[-1] < losses[0]

    sgd_metrics, sgd_batch_stats = after_sgd
    measured = {name: metrics[0][name] for name in sgd_metrics[0]}  # and what the method decided
    chex.assert_trees_all_close(measured, sgd_metrics[0], rtol=1e-6)
    chex.assert_trees_all_close(batch_stats[0], sgd_batch_stats[0], rtol=1e-6)


def test_seeds_under_vmap_equal_separate_runs(config):
    config.method = "lookbehind_asam"
    dataset, program = prepare(config)
    keys = jax.random.split(jax.random.key(0), 2)
    rows = jax.numpy.stack([program.order(key, 0)[0] for key in keys])
    states = [program.init(key) for key in keys]
    step = jax.jit(program.step)
    expected = [step(*x) for x in zip(states, [dataset.train] * 2, rows, strict=True)]

    together = jax.jit(jax.vmap(program.step, in_axes=(0, None, 0)))
    stacked = jax.tree.map(lambda *x: jax.numpy.stack(x), *states)
    state, metrics = together(stacked, dataset.train, rows)
    for seed in range(2):
        one = jax.tree.map(lambda x, s=seed: x[s], (state.params, state.batch_stats, metrics))
        alone, alone_metrics = expected[seed]
        chex.assert_trees_all_close(
            one, (alone.params, alone.batch_stats, alone_metrics), rtol=1e-3, atol=1e-5
        )


def test_evaluation_uses_the_running_statistics(config):
    dataset, program = prepare(config)
    state = program.init(jax.random.key(0))
    whole = program.evaluate(state, dataset.test)["loss"]
    halves = [jax.tree.map(lambda x, h=half: x[h::2], dataset.test) for half in (0, 1)]
    parts = [program.evaluate(state, half)["loss"] for half in halves]
    np.testing.assert_allclose(np.sum(parts), whole, rtol=1e-5)  # no example depends on others


def test_an_epoch_shuffles_and_drops_the_partial_batch(config):
    _, program = prepare(config)
    first, second = (np.asarray(program.order(jax.random.key(0), epoch)) for epoch in (0, 1))
    assert first.shape == (1437 // 128, 128)
    assert len(np.unique(first)) == first.size
    assert (first != second).any()


def test_the_same_seed_gives_the_same_run(config):
    dataset, program = prepare(config)
    program = compiled(program)
    runs = [[fetch_metrics(e) for e in run_epochs(program, dataset, s, 1)] for s in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"method": "adam"},
            r"unknown method 'adam'.* valid ones: ae_look.*, lookbehind_sam.*none",
        ),
        ({"model": "vgg"}, "unknown model 'vgg'"),
        ({"dataset": "mnist"}, "unknown dataset 'mnist'"),
        ({"batch_size": 2000}, r"batch_size must be in \[1, 1437\], got 2000"),
        ({"epochs": 0}, r"epochs must be in \[1, 1000000\], got 0"),
        ({"method": "sam:rho=-1"}, "rho must be"),
        ({"method": "lookahead:k=0"}, "k must be an integer >= 1, got 0"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(config, changes, message):
    config.update(changes)
    with pytest.raises(ValueError, match=message):
        prepare(config)
