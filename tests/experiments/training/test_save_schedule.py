"""When a run saves checkpoints, and where it stops."""

import numpy as np
import pytest

from experiments.configs import digits
from experiments.training.metrics import NotFiniteError
from experiments.training.save_schedule import every


def steps(epochs):
    return 4 * epochs


@pytest.mark.parametrize(
    ("save_every_steps", "expected"),
    [
        (None, [(3, 0), (6, 0), (8, 0)]),
        # Steps of the whole run, of four an epoch.
        (10, [(2, 2), (3, 0), (5, 0), (6, 0), (7, 2), (8, 0)]),
    ],
)
def test_checkpoints_are_saved_at_intervals_and_after_the_last_epoch(save_every_steps, expected):
    saved = []
    config = digits.get_config()
    config.update(epochs=8, save_every=3, save_every_steps=save_every_steps)
    save = every(config, lambda _, *metrics: saved.append(tuple(map(len, metrics))), steps)
    for epochs in range(8):
        for step in range(1, 5):
            save(None, [{}] * epochs, [{"loss": np.float32(1)}] * step)
        save(None, [{}] * (epochs + 1), ())
    assert saved == expected


def test_an_interrupted_run_saves_a_checkpoint_where_it_can_resume():
    saved, stop = [], []
    save = every(
        digits.get_config(),
        lambda _, *metrics: saved.append(tuple(map(len, metrics))),
        steps,
        interrupted=lambda: stop[0] if stop else None,
    )
    metrics = [{"loss": np.float32(1)}] * 4
    save(None, [], metrics[:1])
    stop.append(KeyboardInterrupt())
    save(None, [], metrics)  # the epoch has yet to be evaluated
    assert saved == []
    for history, done in [([{}], ()), ([{}], metrics[:2])]:
        with pytest.raises(KeyboardInterrupt):
            save(None, history, done)
    assert saved == [(1, 0), (1, 2)]


def test_none_is_saved_after_a_loss_that_is_not_finite():
    config = digits.get_config()
    config.save_every_steps = 2
    save = every(config, lambda *_: pytest.fail("saved"), steps)
    with pytest.raises(NotFiniteError, match="nan at step 2 of epoch 3"):
        save(None, [{}] * 2, [{"loss": np.float32(1)}, {"loss": np.float32(np.nan)}])
