"""What the logs say a method decided, against the states and statistics it follows from."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import plot, train
from experiments.data import pipeline as feeds
from experiments.methods.table import method
from experiments.training import decisions
from experiments.training import run_dir as workdir
from experiments.training.setup import compiled, make_program

ADAPTIVE = {"applied", "mu", "sigma", "threshold"}
LOSSES = {"loss", "accuracy"}
SENSITIVE = "lambda_1=0,lambda_2=0,decay=0.5"  # both kinds of step within a few


@pytest.fixture
def config(config):
    config.update(model="dense", epochs=2, batch_size=64, train_examples=512, learning_rate=0.05)
    return config


def take_steps(config, number, infinite=()):
    """The metrics of some steps, and the optimizer's state after each."""
    dataset = feeds.load(config)
    images = dataset.train.images.astype(np.float32)
    program = compiled(make_program(config, dataset))
    state, metrics, states = program.init(jax.random.key(0)), [], []
    for t, rows in enumerate(program.order(jax.random.key(1), 0)[:number]):
        if t in infinite:
            images[rows] = np.inf
        state, of_step = program.step(state, dataset.train._replace(images=images), rows)
        metrics.append(jax.device_get(of_step))
        states.append(jax.device_get(state.opt_state))
    return metrics, states


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sam", set()),
        ("looksam", {"applied"}),
        ("ss_sam", {"applied"}),
        ("ae_looksam", ADAPTIVE),
        ("lookbehind_sam", {"alpha"}),
        ("ae_lookbehind_sam", ADAPTIVE | {"alpha"}),
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_method_tells_what_it_decides(config, name, expected, optimizer):
    config.optimizer = optimizer
    tx = method(name).build(config, 10)
    state = tx.init({"w": jnp.ones(3)})
    assert decisions.of_step(state, state).keys() == expected


def test_the_numbers_are_those_of_the_policys_state(config):
    config.update(
        method=f"ae_sam:{SENSITIVE}", optimizer="adam", learning_rate=0.01
    )  # Adam has a mu as well
    metrics, states = take_steps(config, 8)
    policies = [optax.tree.get(state, "PolicyState") for state in states]
    applied = [step["applied"] for step in metrics]
    np.testing.assert_array_equal(np.cumsum(applied), [policy.applied for policy in policies])
    assert 0 < sum(applied) < 8
    for step, policy in zip(metrics, policies, strict=True):
        mu, var, threshold = policy.decision_state
        assert (step["mu"], step["threshold"]) == (mu, threshold)
        np.testing.assert_allclose(step["sigma"], np.sqrt(var), rtol=1e-6)


def test_alpha_is_the_mean_over_the_weights(config):
    config.update(method="lookbehind_sam:alpha=adaptive_per_tensor")
    metrics, states = take_steps(config, 2)
    for step, state in zip(metrics, states, strict=True):
        alphas = jax.tree.leaves(optax.tree.get(state, "alpha"))
        assert len(set(map(float, alphas))) > 1
        np.testing.assert_allclose(step["alpha"], np.mean(alphas), rtol=1e-6)


def test_a_step_that_was_left_out_decided_nothing(config):
    config.update(method=f"ae_lookbehind_sam:{SENSITIVE}", skip_nonfinite=1)
    metrics, _ = take_steps(config, 4, infinite=[2])
    assert [step["skipped"] for step in metrics] == [False, False, True, False]
    assert metrics[2]["applied"] == 0
    for name in ("mu", "sigma", "threshold", "alpha"):
        assert metrics[2][name] == metrics[1][name] != metrics[3][name]


def test_each_epoch_logs_what_its_method_decides(config, tmp_path):
    config.update(epochs=3, batch_size=32, method=f"ae_sam:{SENSITIVE}")
    config.switch = ((1, "sam"), (2, f"ae_lookbehind_sam:{SENSITIVE}"))
    train.main(config, tmp_path)
    lines = workdir.read_lines(tmp_path / "metrics.jsonl")
    losses = {f"{split}_{name}" for split in ("train", "test") for name in LOSSES}
    of_policy = {f"train_{name}" for name in ADAPTIVE}
    told = [line.keys() - losses - {"epoch"} for line in lines]
    assert told == [of_policy, set(), of_policy | {"train_alpha"}]
    assert all(0 < lines[epoch]["train_applied"] < 1 for epoch in (0, 2))
    assert plot.read_curves(tmp_path)["train_loss"].shape == (1, 3)
