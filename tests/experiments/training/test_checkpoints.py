"""Checkpoints: what is kept, what is read back, and what happens to damaged ones."""

import shutil
from functools import partial
from operator import mul
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.parallel.mesh import make_mesh, replicated, to_devices
from experiments.training.checkpoints import (
    Checkpoints,
    kept_epochs,
    progress_of,
    read_fields,
    read_history,
    read_newest,
)
from tests.support.checkpoint_folders import empty_arrays

STEPS = partial(mul, 5)  # of so many epochs


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
    with Checkpoints(folder, keep_epochs=(1, 2, 3), steps=STEPS) as checkpoints:
        for epochs in (1, 2, 3):
            checkpoints.save(state_after(epochs), history_of(epochs))
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(saved, tmp_path / "checkpoints")


def names(folder):
    return {path.name for path in folder.iterdir()}


def assert_is_epoch(progress, epochs):
    assert progress.history == history_of(epochs)
    assert progress.step_metrics == []
    expected = state_after(epochs)
    assert jax.random.key_data(progress.state.key).tolist() == [0, epochs]
    jax.tree.map(
        np.testing.assert_array_equal, progress.state._replace(key=0), expected._replace(key=0)
    )


def resume_and_save(folder, expected, steps=STEPS):
    """Restores, expecting this many epochs, and writes the next checkpoint."""
    with Checkpoints(folder, steps=steps) as checkpoints:
        assert_is_epoch(checkpoints.restore(abstract), expected)
        checkpoints.save(state_after(expected + 1), history_of(expected + 1))
    _, progress = read_newest(folder, abstract)
    assert_is_epoch(progress, expected + 1)


def test_checkpoints_are_named_after_their_steps(folder):
    assert names(folder) == {"5", "10", "15"}
    assert kept_epochs(folder) == [1, 2, 3]
    assert progress_of(folder, epochs=9) == "3 of 9 epochs"


def test_the_newest_two_are_kept_and_every_nth_epoch(tmp_path):
    with Checkpoints(tmp_path, keep_epochs=(2, 4), steps=STEPS) as checkpoints:
        for epochs in range(1, 6):
            checkpoints.save(state_after(epochs), history_of(epochs))
    assert kept_epochs(tmp_path) == [2, 4, 5]


def test_epochs_may_differ_in_length(tmp_path):
    with Checkpoints(tmp_path, keep_epochs=(1,), steps=[0, 3, 10, 12, 20].__getitem__) as saved:
        for epochs in (1, 2, 3):
            saved.save(state_after(epochs), history_of(epochs))
        saved.save(state_after(4), history_of(3), [{"loss": np.float32(1)}] * 2)
    assert names(tmp_path) == {"3", "12", "14"}
    assert kept_epochs(tmp_path) == [1, 3]


def test_the_newest_one_is_restored_and_the_next_one_saved(folder):
    resume_and_save(folder, expected=3)
    assert kept_epochs(folder) == [3, 4]


def test_fields_and_history_of_an_epoch_are_read_alone(folder):
    fields = read_fields(folder, 2, {"params": abstract(2).params})
    assert fields.keys() == {"params"}
    assert isinstance(fields["params"]["w"], np.ndarray)
    jax.tree.map(np.testing.assert_array_equal, fields["params"], state_after(2).params)
    assert read_history(folder, 2) == history_of(2)


DAMAGE = {
    "arrays": empty_arrays,
    "tree": lambda checkpoint: (checkpoint / "state" / "_METADATA").write_bytes(b"\xff"),
    "state": lambda checkpoint: shutil.rmtree(checkpoint / "state"),
    "history": lambda checkpoint: (checkpoint / "history" / "metadata").write_text("{"),
    "everything": lambda checkpoint: [shutil.rmtree(checkpoint), checkpoint.mkdir()],
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_one_is_skipped_with_one_line_and_replaced(folder, kind, caplog):
    DAMAGE[kind](folder / "15")
    resume_and_save(folder, expected=2)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith(f"Checkpoint {folder / '15'} cannot be read: ")
    assert "\n" not in warning
    assert kept_epochs(folder) == [2, 3]


def test_older_ones_that_are_damaged_are_in_nobodys_way(folder, caplog):
    shutil.rmtree(folder / "5" / "state")
    (folder / "10" / "history" / "metadata").write_text("{")
    resume_and_save(folder, expected=3)
    assert caplog.records == []


def test_without_a_readable_one_there_is_an_error(folder, tmp_path):
    for path in folder.iterdir():
        shutil.rmtree(path / "state")
    with pytest.raises(ValueError, match=r"none of the checkpoints in .* can be read; remove"):
        read_newest(folder, abstract)
    assert read_newest(tmp_path / "nowhere", abstract) is None


def test_what_a_killed_run_has_left_half_written_is_removed(folder):
    shutil.copytree(folder / "15", folder / "20.orbax-checkpoint-tmp")
    resume_and_save(folder, expected=3)
    assert names(folder) == {"15", "20"}


def test_one_within_an_epoch_keeps_the_metrics_of_its_steps(tmp_path, caplog):
    steps = [{"loss": np.float32(1 / n), "skipped": np.bool_(n == 2)} for n in (1, 2, 3)]
    with Checkpoints(tmp_path, steps=STEPS) as checkpoints:
        checkpoints.save(state_after(1), history_of(1))
        checkpoints.save(state_after(2), history_of(1), steps)
    assert names(tmp_path) == {"5", "8"}
    assert kept_epochs(tmp_path) == [1]
    assert progress_of(tmp_path, epochs=9) == "1 of 9 epochs and 3 steps"
    _, progress = read_newest(tmp_path, abstract, STEPS)
    assert (progress.history, progress.step_metrics) == (history_of(1), steps)
    assert progress.step_metrics[2]["loss"].dtype == np.float32
    np.testing.assert_array_equal(progress.state.params["w"], np.full((3, 4), 2))
    # Steps of epochs of another length are others.
    _, progress = read_newest(tmp_path, abstract, partial(mul, 6))
    assert_is_epoch(progress, 1)
    assert "its epochs have 5 steps, those of this run 6" in caplog.text


def test_a_run_goes_on_with_epochs_of_another_length(folder):
    resume_and_save(folder, expected=3, steps=partial(mul, 2))
    assert names(folder) == {"15", "17"}
