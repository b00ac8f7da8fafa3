"""Runs that stop and resume: the same weights to the bit."""

import json
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments import train
from experiments.configs import digits
from experiments.data.pipeline import epoch_rows
from experiments.parallel.mesh import make_mesh, replicated
from experiments.tasks import table
from experiments.training.checkpoints import Checkpoints, kept_epochs
from experiments.training.interrupts import Interrupted
from experiments.training.loggers import RunLogger
from experiments.training.setup import make_run, seed_keys
from tests.support.checkpoint_folders import empty_arrays, newest, numbers


class Stop(Exception):
    """Ends a run from within."""


def set_up(_tiny_model):
    """A small run whose state has keys, momentum and statistics."""
    config = digits.get_config()
    config.update(
        model="dense", epochs=3, batch_size=256, train_examples=512, method="esam", augment=True
    )
    return config


config = pytest.fixture(set_up)


def weights(config, workdir):
    """The arrays of the newest checkpoint."""
    trainer, _ = make_run(config)
    with Checkpoints(workdir / "checkpoints") as saved:
        progress = saved.restore(trainer.abstract_state)
    return len(progress.history), jax.tree.map(_to_numpy, progress.state)


def _to_numpy(x):
    is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def stop_after(monkeypatch, epochs, steps):
    """Makes the next run stop when this number of epochs and steps is saved."""
    save = Checkpoints.save

    def save_and_stop(self, state, history, step_metrics):
        save(self, state, history, step_metrics)
        if (len(history), len(step_metrics)) == (epochs, steps):
            raise Stop

    monkeypatch.setattr(Checkpoints, "save", save_and_stop)


def run_in_two(config, workdir, monkeypatch, epochs, steps=0):
    with monkeypatch.context() as patch:
        stop_after(patch, epochs, steps)
        with pytest.raises(Stop):
            train.main(config, workdir)


@pytest.fixture(scope="module")
def _uninterrupted(_tiny_model, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    train.main(set_up(_tiny_model), workdir)
    return workdir


@pytest.fixture
def whole(_uninterrupted, tmp_path):
    """An uninterrupted run, a copy to do with as one likes."""
    return shutil.copytree(_uninterrupted, tmp_path / "whole")


def assert_same(config, first, second):
    (epochs, ours), (_, theirs) = weights(config, first), weights(config, second)
    assert epochs == config.epochs
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    lines = [(run / "metrics.jsonl").read_bytes() for run in (first, second)]
    assert lines[0] == lines[1]


def test_a_stopped_run_resumes_to_the_same_weights_and_metrics(
    config, whole, tmp_path, monkeypatch
):
    stopped = tmp_path / "stopped"
    run_in_two(config, stopped, monkeypatch, epochs=1)
    # Lines that were written after the checkpoint are written again.
    with open(stopped / "metrics.jsonl", "a", encoding="utf-8") as log:
        log.write('{"epoch": 2, "train_loss": 1}\n{"epo')
    train.main(config, stopped)
    assert_same(config, whole, stopped)


def test_a_run_that_stops_within_an_epoch_resumes_there(
    config, whole, tmp_path, monkeypatch, capsys
):
    stopped = tmp_path / "stopped"
    config.save_every_steps = 3  # two steps an epoch
    run_in_two(config, stopped, monkeypatch, epochs=1, steps=1)
    assert numbers(stopped) == [2, 3]
    capsys.readouterr()
    train.main(config, stopped)
    assert "Resuming after 1 epoch and 1 steps." in capsys.readouterr().err
    assert_same(config, whole, stopped)


def test_a_run_that_a_signal_stops_resumes_where_it_stopped(config, whole, tmp_path, monkeypatch):
    stopped = tmp_path / "stopped"

    def signal_in_the_second_epoch(logger):
        if logger._epoch == 2:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunLogger, "log_first_step", signal_in_the_second_epoch)
        patch.setattr(RunLogger, "_rate", lambda _: 0)
        with pytest.raises(Interrupted, match="stopped by SIGTERM"):
            train.run(config, stopped)
    assert numbers(stopped) == [2, 3]  # two steps an epoch
    train.run(config, stopped)
    assert_same(config, whole, stopped)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(pytestconfig):
    flags = ["--config.epochs=5", "--config.method=ae_sam", "--config.batch_size=256"]
    flags += ["--config.save_every_steps=2"]
    command = [sys.executable, "-m", "tests.support.kill_and_resume", "2", *flags]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=pytestconfig.rootpath
    )
    assert done.returncode == 0, done.stderr
    assert "and metrics.jsonl are the same to the bit" in done.stdout


@pytest.mark.slow
def test_a_run_resumes_within_the_first_epoch_of_another_method(config, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    config.update(method="sgd", switch=((1, "lookbehind_sam:k=2"),), save_every_steps=1)
    train.main(config, whole)
    run_in_two(config, stopped, monkeypatch, epochs=1, steps=1)
    train.main(config, stopped)
    assert_same(config, whole, stopped)


def test_rerunning_a_finished_run_prints_its_summary(config, whole, capsys):
    before = (whole / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    train.main(config, whole)
    assert "ESAM: test accuracy" in capsys.readouterr().out
    assert (whole / "metrics.jsonl").read_bytes() == before


def test_the_newest_two_checkpoints_are_kept(whole):
    assert numbers(whole) == [4, 6]


def test_every_nth_checkpoint_is_kept_too(config, tmp_path, monkeypatch):
    config.update(method="sgd", epochs=6, keep_every=2)
    run_in_two(config, tmp_path, monkeypatch, epochs=3)
    assert kept_epochs(tmp_path / "checkpoints") == [2, 3]
    config.keep_every = None
    with pytest.raises(SystemExit, match="keep_every: 2 in the workdir, None requested"):
        train.main(config, tmp_path)
    config.keep_every = 2
    train.main(config, tmp_path)
    assert kept_epochs(tmp_path / "checkpoints") == [2, 4, 5, 6]


def test_an_invalid_keep_every_raises_before_the_run(config, tmp_path):
    config.keep_every = 0
    with pytest.raises(SystemExit, match="keep_every must be >= 1, got 0"):
        train.main(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_skipped_with_a_warning(config, whole, tmp_path, caplog):
    damaged = shutil.copytree(whole, tmp_path / "damaged")
    empty_arrays(newest(damaged))
    train.main(config, damaged)
    assert any("checkpoints/6 cannot be read" in record.message for record in caplog.records)
    assert_same(config, whole, damaged)
    assert numbers(damaged) == [4, 6]


def test_no_readable_checkpoint_raises(config, whole):
    for path in (whole / "checkpoints").glob("*/state"):
        shutil.rmtree(path)
    with pytest.raises(SystemExit, match=r"none of the checkpoints in .* can be read"):
        train.main(config, whole)


def test_a_run_resumes_with_other_folders_workers_and_eval_batches(
    config, whole, tmp_path, monkeypatch
):
    moved = tmp_path / "moved"
    run_in_two(config, moved, monkeypatch, epochs=1)
    config.update(data_dir="elsewhere", workers=2, eval_batch_size=100)
    train.main(config, moved)
    (epochs, ours), (_, theirs) = weights(config, whole), weights(config, moved)
    assert epochs == config.epochs
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def exploding(monkeypatch, which=7):
    """One training image becomes infinite, or several do."""
    load = table.load_dataset

    def with_infinity(config):
        dataset = load(config)
        images = dataset.train.images.astype(np.float32)
        images[which] = np.inf
        return dataset._replace(train=dataset.train._replace(images=images))

    monkeypatch.setattr(table, "load_dataset", with_infinity)


def test_a_loss_that_is_not_finite_stops_the_run(config, tmp_path, monkeypatch):
    config.method = "sam"
    run_in_two(config, tmp_path, monkeypatch, epochs=1)
    exploding(monkeypatch)
    _, order_key = seed_keys(config.seed)
    batches = epoch_rows(order_key, 1, 512, 256, sharding=replicated(make_mesh(1)))
    (step,) = [number for number, rows in enumerate(batches, start=1) if 7 in rows]
    where = rf"loss is nan at step {step} of epoch 2\..*checkpoints/2\. .*skip_nonfinite"
    with pytest.raises(SystemExit, match=where):
        train.main(config, tmp_path)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_epoch_without_a_finite_step_stops_the_run(config, tmp_path, monkeypatch):
    config.update(method="sam", skip_nonfinite=3)
    exploding(monkeypatch, slice(None))
    message = r"all 2 steps of epoch 1 were skipped.*checkpoint: none\..*in another --workdir\.$"
    with pytest.raises(SystemExit, match=message):
        train.main(config, tmp_path)


@pytest.mark.parametrize("method", ["lookbehind_sam", "ae_sam"])
def test_skip_nonfinite_skips_the_step(config, tmp_path, monkeypatch, method):
    config.update(method=method, skip_nonfinite=3)
    exploding(monkeypatch)
    train.main(config, tmp_path)
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["skipped"] for line in lines] == [1, 1, 1]
    assert all(np.isfinite(list(line.values())).all() for line in lines)
    _, state = weights(config, tmp_path)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))
