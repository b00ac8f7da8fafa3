"""Forecasting: errors over all windows, one mask a step, and runs."""

import json

import jax
import numpy as np
import pytest
from flax import nnx

from experiments import train
from experiments.configs import forecasting
from experiments.data.series.pipeline import Windows
from experiments.data.series.split import divide
from experiments.data.series.synthetic import synthetic_series
from experiments.data.series.table import read_series
from experiments.parallel.mesh import make_mesh
from experiments.tasks.forecasting import forecasting as make_task
from experiments.tasks.forecasting import make_forecasting
from experiments.training import run_dir
from experiments.training.loop import train as train_epochs
from experiments.training.setup import make_run, seed_keys
from tests.support.training import take_steps


@pytest.fixture
def config(tmp_path):
    """A run of a few steps on a small file."""
    series = synthetic_series(hours=120, channels=2)
    dates = np.datetime64("2020-01-01T00") + np.arange(120)
    rows = [f"{date},{a},{b}" for date, (a, b) in zip(dates, series.values, strict=True)]
    (tmp_path / "small.csv").write_text("\n".join(["date,a,b", *rows]))
    config = forecasting.get_config()
    config.update(
        data_dir=str(tmp_path / "small.csv"), split=(60, 30, 30), lookback=8, horizon=4, width=3,
        batch_size=16, eval_batch_size=7, epochs=4, patience=2, learning_rate=1e-2,
    )  # fmt: skip
    return config


def records(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("eval_batch_size", [1, 7, 1000])
def test_errors_are_means_over_all_windows(config, eval_batch_size):
    config.eval_batch_size = eval_batch_size
    trainer, pipeline = make_run(config, make_mesh(1))
    state = trainer.init(seed_keys(0)[0])
    sums = [trainer.evaluate(state, batch) for batch in pipeline.evaluation["test"]()]
    windows = sum(s["examples"] for s in sums)

    model = nnx.jit(make_task(config, 2).make_model)(seed_keys(0)[0])
    model.eval()
    values = divide(read_series(config.data_dir), config.split, 8, 4).values
    errors = [model(values[None, t - 8 : t])[0] - values[t : t + 4] for t in range(90, 117)]
    assert windows == len(errors)
    for name, expected in ("mse", np.square(errors).mean()), ("mae", np.abs(errors).mean()):
        np.testing.assert_allclose(sum(s[name] for s in sums) / windows, expected, rtol=1e-5)


def test_the_loss_is_the_mean_over_examples_with_one_mask_for_a_key(config):
    config.dropout = 0.5
    task = make_task(config, 2)
    model = nnx.jit(task.make_model)(jax.random.key(0))
    model.train()
    batch = Windows(np.random.default_rng(0).normal(size=(5, 12, 2)), np.ones(5, bool))
    (loss, metrics), same, other = (
        task.loss(model, batch, jax.random.key(seed)) for seed in (0, 0, 1)
    )
    losses = task.example_losses(model, batch, jax.random.key(0))
    np.testing.assert_allclose(losses.mean(), loss, rtol=1e-6)
    assert losses.shape == (5,)
    assert loss == same[0] != other[0]
    assert 0 < metrics["mae"] < loss**0.5


def test_a_run_ends_with_the_test_errors_of_the_best_validation_epoch(config, tmp_path, capsys):
    train.run(config, tmp_path / "run")
    *before, last = records(tmp_path / "run")
    assert all({"val_mse", "val_mae"} <= set(record) for record in [*before, last])
    assert not any("test_mse" in record for record in before)
    scores = [record["val_mse"] for record in [*before, last]]
    assert last["best_epoch"] == 1 + np.argmin(scores)
    assert "test MSE" in capsys.readouterr().out

    config.update(patience=None)  # evaluates the test part in every epoch
    config.epochs = len(scores)
    train.run(config, tmp_path / "all")
    best = records(tmp_path / "all")[last["best_epoch"] - 1]
    assert (last["test_mse"], last["test_mae"]) == (best["test_mse"], best["test_mae"])


def test_the_entropy_of_the_attention_is_measured_at_the_end(config):
    task, _ = make_forecasting(config, make_mesh(1), jax.random.key(0), 1)
    model = nnx.jit(task.make_model)(jax.random.key(0))
    model.query.kernel[...] *= 0  # every channel attends to both
    np.testing.assert_allclose(task.measure(model)["attention_entropy"], np.log(2), rtol=1e-5)
    model.query.bias[...] += 1e3
    model.key.kernel[...] += 1e3  # all attend to one, unless two are equal
    assert task.measure(model)["attention_entropy"] < 0.01
    config.model = "linear"
    task, _ = make_forecasting(config, make_mesh(1), jax.random.key(0), 1)
    assert task.measure(model) is None


@pytest.mark.parametrize("method", ["ae_sam", "lookbehind_sam:k=2,switch_minibatch=true"])
def test_training_compiles_one_step_and_one_evaluation(config, method):
    config.method = method
    trainer, pipeline = make_run(config, make_mesh(1))
    state = trainer.init(seed_keys(0)[0])
    _, history = train_epochs(trainer, pipeline, state, patience=config.patience)
    assert len(history) > 1
    assert trainer.phases[0].step._cache_size() == trainer.evaluate._cache_size() == 1


def test_microbatches_and_other_devices_take_the_same_steps(config):
    (one,), _ = take_steps(config, 1)
    (many,), _ = take_steps(config, 1, num_devices=2)
    np.testing.assert_allclose(many["loss"], one["loss"], rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model", "resnet18", "unknown model 'resnet18'.*linear, samformer"),
        ("validation", 0.1, "validation must be 0.*0.1"),
        ("batch_size", 60, r"batch_size must be in \[1, 49\]"),
        ("data_dir", "x.csv", "data_dir must be a CSV file"),
    ],
)
def test_a_value_that_does_not_fit_raises(config, key, value, message):
    config.update({key: value})
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make_forecasting(config, make_mesh(1), jax.random.key(0), 1)


def test_runs_are_named_after_their_series(config):
    assert run_dir.run_name(config).startswith("small-samformer-none-seed0-")
    config.data_dir = None
    assert run_dir.run_name(config).startswith("synthetic-samformer-")


def test_a_folder_has_a_file_for_each_dataset(config, tmp_path):
    by_file, _ = take_steps(config, 1)
    config.update(data_dir=str(tmp_path), dataset="small")
    by_folder, _ = take_steps(config, 1)
    assert by_folder == by_file
    config.dataset = "large"
    with pytest.raises(FileNotFoundError, match=r"large\.csv"):
        make_forecasting(config, make_mesh(1), jax.random.key(0), 1)
    config.data_dir = None
    with pytest.raises(FileNotFoundError, match=r"the folder of large\.csv, got None"):
        make_forecasting(config, make_mesh(1), jax.random.key(0), 1)


def test_without_a_file_there_is_a_series_of_the_published_size():
    _, pipeline = make_forecasting(forecasting.get_config(), make_mesh(1), jax.random.key(0), 1)
    assert pipeline.info.num_examples == 8033
    assert pipeline.steps(1) == 251
