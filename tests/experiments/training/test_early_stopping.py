"""Early stopping: when a run ends, with which weights, and that it resumes to the bit."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import train
from experiments.configs import digits
from experiments.data.pipeline import Pipeline
from experiments.training.checkpoints import Checkpoints
from experiments.training.loop import train as train_epochs
from experiments.training.metrics import is_finished
from experiments.training.setup import make_run
from experiments.training.state import TrainState
from experiments.training.trainer import Phase, Trainer

EPOCHS = 10


def run(scores, patience, eval_every=1):
    """Trains a weight that counts epochs, and of which the losses are listed."""

    def evaluate(state, batch):
        epoch = int(state.params)
        return {"loss": np.float32(scores[epoch - 1]), "seen": epoch, "examples": 1}

    def step(state, batch):
        return state._replace(params=state.params + 1), {"loss": 1.0}

    trainer = Trainer(
        epochs=EPOCHS,
        phases=[Phase(0, "counter", init=None, enter=None, step=jax.jit(step))],
        evaluate=evaluate,
        measure=lambda state: {"measured": float(state.params)},
        score="loss",
        sharding=None,
    )
    pipeline = Pipeline(
        None, int, 1, lambda *_: iter([[0]] * EPOCHS), {"val": lambda: [0], "test": lambda: [0]}
    )
    state = TrainState(jnp.zeros(()), None, None, None)
    state = state._replace(best=state)
    return train_epochs(trainer, pipeline, state, patience=patience, eval_every=eval_every)


@pytest.mark.parametrize(
    ("scores", "patience", "best", "end"),
    [
        ([5, 4, 6, 3, 4, 4, 9, 9, 9, 9], 2, 4, 6),
        ([5, 4, 4, 4, 1, 9, 9, 9, 9, 9], 2, 2, 4),  # an equal score is no improvement
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], 1, 10, 10),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 20, 1, 10),
    ],
)
def test_training_stops_after_patience_and_restores_the_best_epoch(scores, patience, best, end):
    state, history = run(scores, patience)
    assert len(history) == end
    assert history[-1]["best_epoch"] == best
    assert history[-1]["test_loss"] == scores[best - 1]
    assert state.params == history[-1]["test_seen"] == history[-1]["measured"] == best
    assert not any("test_loss" in record for record in history[:-1])
    assert [is_finished(history[:n], EPOCHS) for n in range(end + 1)] == [False] * end + [True]


def test_epochs_without_evaluation_do_not_decide():
    state, history = run([9, 5, 0, 6, 0, 7, 0, 8, 0, 9], patience=4, eval_every=2)
    assert len(history) == 6
    assert state.params == 2


def test_a_finished_run_is_not_trained_again():
    state, history = run([1, 2, 3, 4], patience=2)
    trainer = Trainer(EPOCHS, *[None] * (len(Trainer._fields) - 1))
    again, same = train_epochs(trainer, None, state._replace(best=state), history, patience=2)
    assert (again, same) == (state, history)


@pytest.fixture
def config(_tiny_model):
    config = digits.get_config()
    config.update(
        model="dense", epochs=6, batch_size=256, train_examples=512, method="momentum_sam",
        validation=0.5, eval_test=True, patience=1, learning_rate=30.0,
    )  # fmt: skip
    return config


class Stop(Exception):
    pass


def newest(config, workdir):
    trainer, _ = make_run(config)
    with Checkpoints(workdir / "checkpoints") as saved:
        progress = saved.restore(trainer.abstract_state)
    state = progress.state._replace(key=None, best=progress.state.best._replace(key=None))
    return jax.tree.map(np.asarray, state), progress.history


def test_a_run_resumes_to_the_bit_and_keeps_the_best_weights(config, tmp_path, monkeypatch):
    config.save_every_steps = 1
    train.run(config, tmp_path / "whole")
    state, history = newest(config, tmp_path / "whole")
    assert 1 < len(history) < 6, "choose another learning rate: the run must stop early"

    save = Checkpoints.save

    def save_and_stop(self, state, history, step_metrics=()):
        save(self, state, history, step_metrics)
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        for _ in range(3):  # within the first epoch, after it, within the second
            with pytest.raises(Stop):
                train.run(config, tmp_path / "parts")
    train.run(config, tmp_path / "parts")
    resumed, same_history = newest(config, tmp_path / "parts")
    assert json.dumps(same_history) == json.dumps(history)
    jax.tree.map(np.testing.assert_array_equal, resumed, state)
    jax.tree.map(np.testing.assert_array_equal, state._replace(best=None), state.best)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": 0.0}, "patience must be None without a validation set.*got 1"),
        ({"switch": ((1, "sam"),)}, "patience must be None with switch, got 1"),
        ({"patience": 0}, "patience must be >= 1, got 0"),
    ],
)
def test_early_stopping_needs_a_validation_set_and_one_method(config, changes, message):
    config.update(changes)
    with pytest.raises(ValueError, match=message):
        make_run(config)
