"""Training steps of every method on a model with BatchNorm, and the loop around them."""

import chex
import jax
import numpy as np
import pytest

from experiments.configs import digits
from experiments.data import pipeline
from experiments.methods.table import METHODS
from experiments.parallel.mesh import make_mesh, replicated
from experiments.train import main
from experiments.training import run_dir
from experiments.training.seeds import train_seeds
from experiments.training.setup import make_run
from tests.support.training import first_batches, start, take_steps


def steps_of(config, number):
    """Metrics of each step, and the BatchNorm statistics after each."""
    metrics, states = take_steps(config, number)
    return metrics, [state.batch_stats for state in states]


@pytest.fixture(scope="module")
def after_sgd(_tiny_model):
    """State and metrics after one step of SGD on the same batch from the same weights."""
    config = digits.get_config()
    config.update(model="tiny", method="sgd")
    return steps_of(config, 1)


# Made of the same blocks as others.
SLOW = {"gnp", "wsam", "stable_sam", "saner", "usam", "friendly_sam", "vasso", "multistep_asam"}
SLOW |= {"lookahead_sam", "lookahead_asam", "lookbehind_asam", "ae_sam", "ae_lookbehind_sam"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in METHODS],
)
def test_every_method_trains_and_keeps_the_clean_statistics(config, name, after_sgd):
    config.update(method=name, learning_rate=0.05)
    metrics, batch_stats = steps_of(config, 10)
    losses = [m["loss"] for m in metrics]
    assert losses[-1] < losses[0]

    sgd_metrics, sgd_batch_stats = after_sgd
    measured = {name: metrics[0][name] for name in sgd_metrics[0]}  # and what the method decided
    chex.assert_trees_all_close(measured, sgd_metrics[0], rtol=1e-6)
    chex.assert_trees_all_close(batch_stats[0], sgd_batch_stats[0], rtol=1e-6)


def test_seeds_under_vmap_equal_separate_runs(config):
    config.method = "lookbehind_asam"
    trainer, data, _ = start(config)
    batches = jax.tree.map(lambda *x: jax.numpy.stack(x), *first_batches(data, 2))
    states = [trainer.init(key) for key in jax.random.split(jax.random.key(0), 2)]
    stacked = jax.tree.map(lambda *x: jax.numpy.stack(x), *states)
    together, metrics = jax.jit(jax.vmap(trainer.phases[0].step))(stacked, batches)
    for seed, state in enumerate(states):
        alone = trainer.phases[0].step(state, jax.tree.map(lambda x, i=seed: x[i], batches))
        one = jax.tree.map(lambda x, i=seed: x[i], (together, metrics))
        for field in (lambda x: x[0].params, lambda x: x[0].batch_stats, lambda x: x[1]):
            chex.assert_trees_all_close(field(one), field(alone), rtol=1e-3, atol=1e-5)


def test_evaluation_uses_the_running_statistics(config):
    trainer, data, state = start(config)
    (test_set,) = data.evaluation["test"]()
    whole = trainer.evaluate(state, test_set)["loss"]
    halves = [jax.tree.map(lambda x, h=half: x[h::2], test_set) for half in (0, 1)]
    losses = [trainer.evaluate(state, half)["loss"] for half in halves]
    np.testing.assert_allclose(np.sum(losses), whole, rtol=1e-5)  # no example depends on others


def test_an_epoch_shuffles_and_drops_the_partial_batch():
    sharding = replicated(make_mesh(1))
    epochs = [
        np.array(pipeline.epoch_rows(jax.random.key(0), epoch, 1437, 128, sharding=sharding))
        for epoch in (0, 1)
    ]
    assert epochs[0].shape == (1437 // 128, 128)
    assert len(np.unique(epochs[0])) == epochs[0].size
    assert (epochs[0] != epochs[1]).any()


def test_the_same_seed_gives_the_same_run(config):
    config.epochs = 1
    histories = [history for _, history in train_seeds(config, (0, 0, 1))]
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


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
        ({"epochs": 0}, r"epochs must be >= 1, got 0"),
        ({"method": "sam:rho=-1"}, "rho must be"),
        ({"method": "lookahead:k=0"}, "k must be an integer >= 1, got 0"),
    ],
)
def test_an_invalid_config_raises_before_training(config, changes, message):
    config.update(changes)
    with pytest.raises(ValueError, match=message):
        make_run(config)


def test_eval_every_evaluates_after_every_nth_and_the_last_epoch(config, tmp_path):
    config.update(model="dense", epochs=5, eval_every=2, train_examples=256)
    main(config, tmp_path)
    lines = run_dir.read_lines(tmp_path / run_dir.METRICS)
    evaluated = ["test_accuracy" in line for line in lines]
    assert evaluated == [False, True, False, True, True]
