"""The logged metrics of a method, against the states that they are read from."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from experiments import train
from experiments.methods.optimizers import read_optimizer
from experiments.methods.table import method
from experiments.parallel.mesh import make_mesh
from experiments.training import run_dir
from experiments.training.setup import make_task
from experiments.training.step import method_metrics
from tests.support.training import first_batches, start, take_steps

ADAPTIVE = {"applied", "mu", "sigma", "threshold"}
LOSSES = {"loss", "accuracy"}
SENSITIVE = "lambda_1=0,lambda_2=0,decay=0.5"  # both kinds of step within a few


@pytest.fixture
def config(config):
    config.update(model="dense", epochs=2, batch_size=64, train_examples=512, learning_rate=0.05)
    return config


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
def test_each_method_has_its_metrics(config, name, expected, optimizer):
    config.optimizer = optimizer
    tx = method(name).build(read_optimizer(config), 10)
    state = tx.init({"w": jnp.ones(3)})
    assert method_metrics(state, state).keys() == expected


def test_policy_metrics_match_the_policy_state(config):
    config.update(
        method=f"ae_sam:{SENSITIVE}", optimizer="adam", learning_rate=0.01
    )  # Adam has a mu as well
    metrics, states = take_steps(config, 8)
    policies = [optax.tree.get(state.opt_state, "PolicyState") for state in states]
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
        alphas = np.asarray(optax.tree.get(state.opt_state, "alpha"))
        assert len(set(alphas.tolist())) > 1
        np.testing.assert_allclose(step["alpha"], np.mean(alphas), rtol=1e-6)


def test_sharpness_is_the_rise_of_the_loss_to_the_perturbed_weights(config):
    config.update(method="sam:rho=0.3")
    (step,), _ = take_steps(config, 1)
    _, pipeline, state = start(config)
    (batch,) = first_batches(pipeline, 1)
    task, _ = make_task(config, make_mesh(1), 1)
    graphdef = nnx.graphdef(nnx.eval_shape(task.make_model, jax.random.key(0)))

    def loss(params):
        return task.loss(
            nnx.merge(graphdef, params, state.batch_stats, copy=True), batch, jax.random.key(0)
        )[0]

    grads = jax.grad(loss)(state.params)
    perturbed = optax.tree.add_scale(state.params, 0.3 / optax.tree.norm(grads), grads)
    expected = loss(perturbed) - loss(state.params)
    np.testing.assert_allclose(step["sharpness"], expected, rtol=1e-4)


def test_sharpness_is_a_mean_over_the_sharpness_aware_steps(config, tmp_path):
    config.update(epochs=1, method=f"ae_sam:{SENSITIVE}")
    metrics, _ = take_steps(config, 8)
    for step in metrics:
        assert np.isnan(step["sharpness"]) == (not step["applied"])
    train.main(config, tmp_path)
    (line,) = run_dir.read_lines(tmp_path / "metrics.jsonl")
    steps = [step["sharpness"] for step in metrics if step["applied"]]
    np.testing.assert_allclose(line["train_sharpness"], np.mean(steps), rtol=1e-5)


@pytest.mark.parametrize("method", ["esam", "lookbehind_sam:switch_minibatch=true"])
def test_other_examples_in_the_perturbed_loss_give_no_sharpness(config, method):
    config.update(method=method)
    (step,), _ = take_steps(config, 1)
    assert "sharpness" not in step


def test_a_skipped_step_changes_no_method_metric(config):
    config.update(method=f"ae_lookbehind_sam:{SENSITIVE}", skip_nonfinite=1, seed=1)
    trainer, pipeline, state = start(config)
    metrics = []
    for t, batch in enumerate(first_batches(pipeline, 4)):
        images = batch.images.astype(np.float32) * (np.inf if t == 2 else 1)
        state, step_metrics = trainer.phases[0].step(state, batch._replace(images=images))
        metrics.append(jax.device_get(step_metrics))
    assert [step["skipped"] for step in metrics] == [False, False, True, False]
    assert metrics[2]["applied"] == 0
    for name in ("mu", "sigma", "threshold", "alpha"):
        assert metrics[2][name] == metrics[1][name] != metrics[3][name]


def test_each_epoch_logs_the_metrics_of_its_method(config, tmp_path):
    config.update(epochs=3, batch_size=32, method=f"ae_sam:{SENSITIVE}")
    config.switch = ((1, "sam"), (2, f"ae_lookbehind_sam:{SENSITIVE}"))
    train.main(config, tmp_path)
    lines = run_dir.read_lines(tmp_path / "metrics.jsonl")
    losses = {f"{split}_{name}" for split in ("train", "test") for name in LOSSES}
    policy_metrics = {f"train_{name}" for name in ADAPTIVE}
    logged = [line.keys() - losses - {"epoch"} for line in lines]
    policy_metrics |= {"train_sharpness"}
    assert logged == [policy_metrics, {"train_sharpness"}, policy_metrics | {"train_alpha"}]
    assert all(0 < lines[epoch]["train_applied"] < 1 for epoch in (0, 2))
