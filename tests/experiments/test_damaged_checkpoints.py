"""A damaged checkpoint is found, named in one line, and the one before it is used."""

import json
import os
import shutil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.parallel.mesh import make_mesh, replicated, to_devices
from experiments.training.checkpoints import Checkpoints, kept_epochs, read_newest
from tests.support import damage

# Orbax needs nothing of these two, and without the checksums of the files those of the arrays and
# of the history count.
HARMLESS = {"_CHECKPOINT_METADATA", "commit_success.txt"}


class State(NamedTuple):
    """A small training state."""

    params: Any
    opt_state: Any
    key: jax.Array


def state_after(epochs):
    params = {"w": jnp.full((3, 4), 1.0 * epochs), "b": jnp.arange(4.0)}
    state = State(params, optax.sgd(0.1, momentum=0.9).init(params), jax.random.key(epochs))
    return to_devices(state, replicated(make_mesh(1)))


def history_of(epochs):
    return [{"epoch": e + 1, "train_loss": 1 / (e + 1)} for e in range(epochs)]


def abstract(epochs):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state_after(epochs)
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the checkpoints of epochs 1, 2 and 3."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    with Checkpoints(folder, keep_every=1) as checkpoints:
        for epochs in (1, 2, 3):
            checkpoints.save(state_after(epochs), history_of(epochs))
    return folder


def assert_is_epoch(progress, epochs):
    assert progress.history == history_of(epochs)
    np.testing.assert_array_equal(progress.state.params["w"], np.full((3, 4), epochs))
    key = jax.random.key_data(progress.state.key)
    np.testing.assert_array_equal(key, jax.random.key_data(jax.random.key(epochs)))


@pytest.mark.parametrize("kind", damage.KINDS)
def test_every_damaged_file_is_found_with_one_warning(saved, tmp_path, kind, caplog, capfd):
    for number, name in enumerate(damage.files(saved / "3")):
        folder = damage.damaged_copy(saved, tmp_path / str(number), f"3/{name}", kind)
        caplog.clear()
        progress = read_newest(folder, abstract)
        whole = name in HARMLESS or (name, kind) == ("checksums.json", "remove")
        assert_is_epoch(progress, 3 if whole else 2)
        warnings = [record.getMessage() for record in caplog.records]
        assert len(warnings) == (0 if whole else 1), warnings
        if not whole:
            named = "" if name == "checksums.json" else f"{name} "
            assert warnings[0].startswith(f"Checkpoint {folder / '3'} cannot be read: {named}")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow  # reads through Orbax
@pytest.mark.parametrize("kind", damage.KINDS)
def test_damage_is_found_without_checksums_of_the_files(saved, tmp_path, kind, caplog, capfd):
    for number, name in enumerate(damage.files(saved / "3")):
        if name in HARMLESS or name == "checksums.json":
            continue
        folder = damage.damaged_copy(saved, tmp_path / str(number), f"3/{name}", kind)
        (folder / "3" / "checksums.json").unlink()
        caplog.clear()
        progress = read_newest(folder, abstract)
        # Damage may lie where no number is; then the newest one is right.
        assert_is_epoch(progress, len(progress.history))
        assert len(caplog.records) == 3 - len(progress.history)
        assert all("\n" not in record.getMessage() for record in caplog.records)
    assert "Traceback" not in capfd.readouterr().err


def test_a_damaged_history_is_found(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "copy")
    path = folder / "3" / "history" / "metadata"
    about = json.loads(path.read_text())
    about["epochs"][1]["train_loss"] = 0.6
    path.write_text(json.dumps(about))
    (folder / "3" / "checksums.json").unlink()
    assert_is_epoch(read_newest(folder, abstract), 2)


@pytest.mark.parametrize("name", ["1", "2"])
def test_older_checkpoints_that_are_half_removed_are_in_nobodys_way(saved, tmp_path, name, capfd):
    folder = shutil.copytree(saved, tmp_path / "copy")
    shutil.rmtree(folder / name / "state")
    (folder / name / "_CHECKPOINT_METADATA").unlink()
    resume_and_save(folder, 3)
    assert kept_epochs(folder) == [3, 4]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["file", "empty folder"])
def test_something_else_in_place_of_a_checkpoint_is_renamed(saved, tmp_path, kind):
    folder = shutil.copytree(saved, tmp_path / "copy")
    shutil.rmtree(folder / "3")
    (folder / "3").write_text("") if kind == "file" else (folder / "3").mkdir()
    resume_and_save(folder, 2)
    assert set(os.listdir(folder)) == {"2", "3", "unreadable-3"}


def test_what_a_killed_run_has_left_half_written_is_removed(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "copy")
    shutil.copytree(folder / "3", folder / "4.orbax-checkpoint-tmp")
    resume_and_save(folder, 3)
    assert set(os.listdir(folder)) == {"3", "4"}


def resume_and_save(folder, expected):
    """Restores, expecting this many epochs, and writes the next checkpoint."""
    with Checkpoints(folder) as checkpoints:
        progress = checkpoints.restore(abstract)
        assert_is_epoch(progress, expected)
        checkpoints.save(state_after(expected + 1), history_of(expected + 1))
    assert_is_epoch(read_newest(folder, abstract), expected + 1)


def test_a_checkpoint_within_an_epoch_keeps_the_metrics_of_its_steps(tmp_path, caplog):
    steps = [{"loss": np.float32(1 / n), "skipped": np.bool_(n == 2)} for n in (1, 2, 3)]
    with Checkpoints(tmp_path, steps_per_epoch=5) as checkpoints:
        checkpoints.save(state_after(1), history_of(1))
        checkpoints.save(state_after(2), history_of(1), steps)
    assert set(os.listdir(tmp_path)) == {"1", "1+3"}
    assert kept_epochs(tmp_path) == [1]
    progress = read_newest(tmp_path, abstract, steps_per_epoch=5)
    assert progress.history == history_of(1)
    assert progress.step_metrics == steps
    assert progress.step_metrics[2]["loss"].dtype == np.float32
    np.testing.assert_array_equal(progress.state.params["w"], np.full((3, 4), 2))
    # Steps of epochs of another length are others.
    assert_is_epoch(read_newest(tmp_path, abstract, steps_per_epoch=6), 1)
    assert "its epochs have 5 steps, those of this run 6" in caplog.text
    damage.flip(tmp_path / "1+3" / "history" / "metadata")
    with Checkpoints(tmp_path, steps_per_epoch=5) as checkpoints:
        assert_is_epoch(checkpoints.restore(abstract), 1)
    assert set(os.listdir(tmp_path)) == {"1", "unreadable-1+3"}


def test_without_a_readable_checkpoint_one_line_says_so(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "copy")
    for name in "123":
        damage.flip(folder / name / "history" / "metadata")
    with pytest.raises(ValueError, match=r"none of the checkpoints in .*copy can be read; remove"):
        read_newest(folder, abstract)
    assert read_newest(tmp_path / "nowhere", abstract) is None
