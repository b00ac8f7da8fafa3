"""Whole runs of the training command on a few sentences."""

import json

import jax
import numpy as np
import pytest

from experiments import train, translate
from experiments.configs import translation
from experiments.data.text.corpus import read_corpus
from experiments.parallel.mesh import make_mesh
from experiments.training.checkpoints import Checkpoints
from experiments.training.setup import make_run
from tests.support.training import assert_epochs_continue_within

SIZES = {"train": 40, "valid": 5, "test": 5}


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A tiny model on a few of the embedded pairs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    corpus = read_corpus(None, "de", "en")
    for (name, size), split in zip(SIZES.items(), corpus, strict=True):
        for language, side in zip(("de", "en"), split, strict=True):
            text = "".join(f"{line}\n" for line in side[:size])
            (tmp_path / f"{name}.{language}").write_text(text, encoding="utf-8")
    config = translation.get_config()
    config.update(
        data_dir=str(tmp_path),
        vocabulary=150,
        buckets=(48,),
        max_tokens=480,
        width=8,
        hidden=8,
        heads=2,
        layers=1,
        epochs=2,
        beam=2,
    )
    return config


def last_state(config, workdir):
    trainer, _ = make_run(config)
    with Checkpoints(workdir / "checkpoints") as saved:
        state, history, _ = saved.restore(trainer.abstract_state)
    return len(history), jax.tree.leaves((state.params, state.opt_state))


def metrics_of(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_ends_with_bleu_and_samples(config, tmp_path, capsys):
    train.main(config.lock(), tmp_path / "run")
    first, last = metrics_of(tmp_path / "run")
    assert {"val_loss", "val_accuracy", "train_loss"} <= first.keys()
    assert {"val_bleu", "val_chrf", "test_bleu", "test_chrf"} <= last.keys() - first.keys()
    assert 0 <= last["test_bleu"] <= 100
    (_, timing) = (tmp_path / "run" / "timing.jsonl").read_text().splitlines()
    assert json.loads(timing)["tokens_per_second"] > 0
    output = capsys.readouterr().out
    assert output.count("translation: ") == 3
    assert "case:lc" in output

    translate.main([str(tmp_path / "run"), f"--output={tmp_path / 'translations'}"])
    assert len((tmp_path / "translations").read_text().splitlines()) == SIZES["test"]
    assert f"BLEU {last['test_bleu']:.2f}" in capsys.readouterr().err


def test_a_folder_without_a_run_of_translation_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match=r"config\.json"):
        translate.main([str(tmp_path)])


def test_a_resumed_run_ends_with_the_same_weights(config, tmp_path, monkeypatch):
    method = "lookbehind_sam:switch_minibatch=true,alpha=0.8"
    config.update(method=method, dropout=0.2, epochs=2)
    train.main(config.lock(), tmp_path / "whole")

    save = Checkpoints.save

    def save_and_stop(self, *progress):
        save(self, *progress)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train.main(config, tmp_path / "parts")
    train.main(config, tmp_path / "parts")

    assert metrics_of(tmp_path / "parts") == metrics_of(tmp_path / "whole")
    (epochs, expected), (_, found) = (
        last_state(config, tmp_path / name) for name in ("whole", "parts")
    )
    assert epochs == 2
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_step_is_compiled_once_for_each_bucket(config, compilations):
    config.update(buckets=(24, 48))
    trainer, pipeline = make_run(config, make_mesh(1))
    epochs = [list(epoch) for epoch, _ in zip(pipeline.train(0), range(2), strict=False)]
    shapes = {batch.source.shape for epoch in epochs for batch in epoch}
    assert len(shapes) == 2
    state = trainer.init(jax.random.key(0))
    with compilations() as count:
        for batch in (batch for epoch in epochs for batch in epoch):
            state, _ = trainer.phases[0].step(state, batch)
    assert count[0] == len(shapes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    ["esam", "ae_sam", "lookbehind_asam:switch_minibatch=true,k=2"],
)
def test_every_method_of_the_comparison_takes_steps(config, method):
    config.update(method=method)
    trainer, pipeline = make_run(config, make_mesh(1))
    state = trainer.init(jax.random.key(0))
    batch = next(iter(next(pipeline.train(0))))
    state, metrics = trainer.phases[0].step(state, batch)
    assert np.isfinite(metrics["loss"])


def test_an_epoch_resumes_at_a_step(config):
    config.update(buckets=(24, 48))
    assert_epochs_continue_within(make_run(config, make_mesh(1))[1])


def test_devices_and_microbatches_divide_the_pairs_of_a_batch(config):
    config.update(microbatches=3)
    _, pipeline = make_run(config, make_mesh(2))
    for batch in next(pipeline.train(0)):
        assert len(batch.source) % 6 == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"validation": 0.1}, "validation must be 0"),
        ({"train_examples": 41}, r"train_examples must be in \[1, 40\], got 41"),
        ({"model": "resnet18"}, "model must be 'transformer' for translation, got 'resnet18'"),
        ({"max_tokens": 10}, "max_tokens must be >= 48"),
        ({"target_language": "fr"}, "train.fr"),
        ({"schedule": "inverse_sqrt", "warmup_steps": 0}, "warmup_steps must be >= 1"),
        ({"betas": (0.9, 1.0)}, r"betas must be two numbers in \[0, 1\), got \(0.9, 1.0\)"),
        ({"layers": 0}, "layers must be >= 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"beam": 0}, "beam must be >= 1, got 0"),
        ({"length_penalty": -1.0}, "length_penalty must be >= 0 and finite, got -1.0"),
    ],
)
def test_a_bad_value_is_an_error_that_names_it(config, changes, named):
    config.update(changes)
    with pytest.raises(ValueError, match=named):
        make_run(config, make_mesh(1))


@pytest.mark.slow
def test_512_pairs_are_overfitted(config, tmp_path, monkeypatch):
    """Training, cached decoding and scoring fit each other: BLEU on the training text above 95."""
    corpus = read_corpus(None, "de", "en")
    for split in ("train", "valid", "test"):
        for language, side in zip(("de", "en"), corpus.train, strict=True):
            text = "".join(f"{line}\n" for line in side[:512])
            (tmp_path / f"{split}.{language}").write_text(text, encoding="utf-8")
    config.update(
        vocabulary=800,
        buckets=(16, 32, 64),
        max_tokens=1024,
        width=128,
        hidden=256,
        heads=4,
        dropout=0.0,
        label_smoothing=0.0,
        epochs=60,
        learning_rate=2e-3,
        warmup_steps=50,
    )
    train.main(config.lock(), tmp_path / "run")
    assert metrics_of(tmp_path / "run")[-1]["test_bleu"] > 95
