"""Opening runs to analyze: read-only, with helpful errors."""

import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments import analyze
from experiments.configs import imagenet
from experiments.data.images import imagenet as streamed
from experiments.results.measures import data
from tests.support.analyzed_runs import QUICK, analysis_of, config_of, opened
from tests.support.checkpoint_folders import newest, numbers
from tests.support.tfds_datasets import imagenet_example, write_tfds


def error_of(*arguments):
    """The error message of the command."""
    with pytest.raises(SystemExit) as error:
        analyze.main([*map(str, arguments), *QUICK.split()])
    return str(error.value)


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def run(runs, tmp_path):
    """A copy of a run that a test may change."""
    return shutil.copytree(runs["sgd-0"], tmp_path / "copies" / "run")


def test_a_run_is_only_read_even_where_its_newest_checkpoint_is_damaged(run, tmp_path, caplog):
    shutil.rmtree(newest(run) / "state")
    before = contents(run)
    found = analysis_of([run], tmp_path / "analysis", "--measures=training,m_sharpness")
    assert contents(run) == before
    assert found["runs"][0]["epoch"] == 1
    assert found["runs"][0]["measures"]["training"]["train_loss"]["epoch"] == [1]
    assert any(f"Checkpoint 2 of {run} cannot be read" in r.message for r in caplog.records)


def test_any_kept_epoch_can_be_chosen(run):
    first, last = opened(run, epoch=1), opened(run)
    assert (first.checkpoint.epoch, last.checkpoint.epoch) == (1, 2)
    assert (jax.tree.leaves(first.params)[1] != jax.tree.leaves(last.params)[1]).any()


def test_a_folder_that_holds_no_run_is_an_error(run):
    assert f"{run.parent} is not the folder of a run" in error_of(run.parent)
    (run / "config.json").write_text("{")
    assert "config.json is damaged" in error_of(run)


def test_a_run_of_another_task_raises(run):
    config = run / "config.json"
    config.write_text(config.read_text().replace('"classification"', '"multi_head"'))
    assert f"{run} must hold a run of the task 'classification', got 'multi_head'" in error_of(run)


def test_an_error_says_which_checkpoints_cannot_be_read(run):
    shutil.rmtree(run / "checkpoints" / str(numbers(run)[0]) / "state")
    assert f"checkpoint 1 of {run} cannot be read" in error_of(run, "--epoch=1")
    shutil.rmtree(newest(run) / "state")
    assert f"none of the checkpoints of {run} can be read: 1, 2" in error_of(run)
    shutil.rmtree(run / "checkpoints")
    assert f"{run} has no checkpoint yet" in error_of(run)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--epoch=7", "has no checkpoint of epoch 7; available: 1, 2."),
        ("--measures=flatness", "unknown measure 'flatness'"),
        ("--measures=interpolation", "interpolation cannot be measured: needs two runs"),
        ("--radii=-1", "radii[0] must be"),
        ("--sigmas=0,-1", "sigmas[1] must be"),
        ("--examples=0", "examples must be >= 1, got 0"),
        ("--m=600", "m must be in [1, 512], the number of examples, got 600"),
        ("--minibatches=1", "minibatches must be >= 2, got 1"),
        ("--grid=1", "grid must be >= 2, got 1"),
    ],
)
def test_invalid_options_raise_with_message(runs, flag, message, tmp_path):
    run, output = runs["sgd-0"], f"--output={tmp_path}"
    with pytest.raises(SystemExit) as error:
        analyze.main([str(run), output, *QUICK.split(), flag])
    assert message in str(error.value)


def test_duplicate_runs_raise(run):
    other = shutil.copytree(run, run.parent / "other")
    assert f"{run} and {other} are the same run" in error_of(run, other)


def test_non_numeric_radii_raise(capsys):
    error_of("run", "--radii=small")
    assert "got 'small'" in capsys.readouterr().err


def test_curvature_without_matfree(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matfree", None)
    wanted = "--measures=training,curvature"
    assert 'curvature cannot be measured: needs Matfree: pip install "optax' in error_of(
        run, wanted
    )
    found = analysis_of([run], tmp_path)
    assert "Matfree" in found["skipped"]["curvature"]
    assert "Skipped: curvature: needs Matfree" in capsys.readouterr().out
    assert {"curvature", "interpolation"}.isdisjoint(found["runs"][0]["measures"])


def test_keys_that_are_newer_than_the_run_have_their_defaults(run):
    config = run / "config.json"
    lines = [line for line in config.read_text().splitlines() if "label_smoothing" not in line]
    config.write_text("\n".join(lines))
    assert opened(run).config.label_smoothing == 0.0


def test_the_data_are_those_of_the_run():
    config = config_of("sgd-0")
    loaded = data.load(config, 10_000, 10_000)
    assert len(loaded.train.labels) == 512
    assert loaded.info.num_examples == 512
    clean = data.load(config.copy_and_resolve_references(), 10_000, 10_000)
    assert clean is loaded  # runs that share their data share the object
    config.label_noise = 0.0
    clean = data.load(config, 10_000, 10_000)
    np.testing.assert_array_equal(clean.train.images, loaded.train.images)
    assert (clean.train.labels != loaded.train.labels).mean() == pytest.approx(0.2, abs=0.01)


def test_imagenet_is_read_from_its_stream(tmp_path):
    write_tfds("imagenet2012", tmp_path, {"train": 19, "validation": 7}, imagenet_example)
    config = imagenet.get_config()
    config.update(data_dir=str(tmp_path), image_size=16)
    loaded = data.load(config, 10, 10_000)
    splits = streamed.open_splits(str(tmp_path))
    for examples, split in (loaded.train, splits.train[:10]), (loaded.test, splits.test):
        (expected,) = streamed.eval_batches(split, len(examples.labels), image_size=16)
        jax.tree.map(np.testing.assert_array_equal, examples, expected)
    assert [len(part.labels) for part in (loaded.train, loaded.test)] == [10, 7]
    assert (loaded.info.num_examples, loaded.info.num_classes) == (19, 1000)


def test_the_command_line_on_another_number_of_devices(runs, pytestconfig, tmp_path):
    # The runs had eight.
    program = (
        "import jax, sys; from tests.support.dense_model import Dense; "
        "from experiments import analyze, models; "
        "models.MODELS['dense'] = Dense; analyze.main(sys.argv[1:]); print(jax.device_count())"
    )
    there = os.environ | {
        "XLA_FLAGS": "",
        "PYTHONPATH": str(pytestconfig.rootpath),
    }
    command = [sys.executable, "-c", program, runs["sgd-0"], f"--output={tmp_path}"]
    done = subprocess.run(
        [*command, *QUICK.split(), "--measures=training,m_sharpness"],
        capture_output=True,
        text=True,
        env=there,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1"
    assert str(tmp_path / "report.md") in done.stdout
    assert "2 of 2 measures" in done.stderr  # the progress
