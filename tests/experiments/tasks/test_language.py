"""Language modelling: windows of a text, the GPT, and a run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import train
from experiments.configs import language
from experiments.data.text.bytes import make_windows, read_text
from experiments.models.sequence.gpt import GPT
from experiments.parallel.mesh import make_mesh
from experiments.tasks.language import language as make_task
from experiments.tasks.language import make_language
from experiments.training.setup import make_run
from tests.support.training import assert_epochs_continue_within


@pytest.fixture
def config(tmp_path):
    """A run of a few steps on a text that repeats itself."""
    (tmp_path / "text").write_text("To be, or not to be. " * 40)
    config = language.get_config()
    config.update(
        data_dir=str(tmp_path / "text"), length=8, width=8, heads=2, layers=2, epochs=2,
        batch_size=16, eval_batch_size=8, warmup_steps=0, learning_rate=1e-2,
    )  # fmt: skip
    return config


def test_windows_predict_each_byte_once():
    text = bytes(range(100))
    windows = make_windows(text, 8)
    np.testing.assert_array_equal(windows.train[:, 1:].ravel(), np.arange(1, 89))
    np.testing.assert_array_equal(windows.train[1:, 0], windows.train[:-1, -1])
    np.testing.assert_array_equal(windows.test, np.arange(90, 99)[None])


def test_the_embedded_text_is_english_of_some_size():
    text = read_text(None)
    assert len(text) > 400_000
    assert b"expression" in text


@pytest.mark.parametrize("length", [0, 11])
def test_a_length_that_the_text_does_not_have_raises(length):
    with pytest.raises(ValueError, match=rf"length must be in \[1, 9\].*got {length}"):
        make_windows(bytes(100), length)


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_dir must be a text file.*missing"):
        read_text(str(tmp_path / "missing"))


def test_the_scanned_blocks_are_the_blocks_one_after_another_and_see_no_later_byte():
    make = lambda: GPT(16, length=6, width=8, heads=2, layers=3, rngs=nnx.Rngs(0))
    model = nnx.jit(make)()
    tokens = jnp.arange(12).reshape(2, 6)
    predict = nnx.jit(lambda model, tokens: model(tokens))
    logits = predict(model, tokens)

    @nnx.jit
    def one_after_another(model):
        graphdef, stacked = nnx.split(model.blocks)
        x = model.tokens(tokens) + model.positions(jnp.arange(6))
        for layer in range(3):
            x = nnx.merge(graphdef, jax.tree.map(lambda w: w[layer], stacked))(x)
        return model.norm(x) @ model.tokens.embedding[...].T

    np.testing.assert_allclose(logits, one_after_another(model), atol=1e-6)

    other = predict(model, tokens.at[:, 3:].set(15))
    np.testing.assert_allclose(other[:, :3], logits[:, :3], atol=1e-6)
    assert abs(other[:, 3:] - logits[:, 3:]).max() > 1e-3


def test_an_epoch_resumes_at_a_step(config):
    assert_epochs_continue_within(make_run(config, make_mesh(1))[1])


def test_padding_counts_for_nothing(config):
    task = make_task(config)
    model = nnx.jit(task.make_model)(jax.random.key(0))
    batch = jnp.arange(2 * 9, dtype=jnp.int16).reshape(2, 9)
    padded = jnp.concatenate([batch, jnp.full((3, 9), -1, jnp.int16)])

    @nnx.jit
    def measure(model):
        sums = task.evaluate(model, batch), task.evaluate(model, padded)
        return sums, task.loss(model, batch, None)[0], task.example_losses(model, batch, None)

    (sums, padded_sums), loss, example_losses = measure(model)
    assert sums["examples"] == 2 * 8
    np.testing.assert_allclose(list(padded_sums.values()), list(sums.values()), rtol=1e-6)
    np.testing.assert_allclose(loss, sums["loss"] / 16, rtol=1e-6)
    np.testing.assert_allclose(example_losses.mean(), loss, rtol=1e-6)


@pytest.mark.slow
def test_a_run_with_sharded_weights_learns(config, tmp_path, capsys):
    config.update(method="lookbehind_sam:k=2", shard_weights=True)
    train.main(config, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["test_loss"] < 5  # log 256 = 5.5
    assert "tokens/s" in capsys.readouterr().err


@pytest.mark.parametrize(("key", "value"), [("model", "resnet18"), ("validation", 0.1)])
def test_keys_of_other_tasks_raise(key, value, config):
    config.update({key: value})
    with pytest.raises(ValueError, match=f"{key} must be .*{value}"):
        make_language(config, make_mesh(1), jax.random.key(0), 1)
