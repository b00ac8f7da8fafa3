"""``pretrained`` with the workdir of another run."""

import jax
import numpy as np
import pytest

from experiments import train
from experiments.configs import digits
from experiments.training.checkpoints import read_newest
from experiments.training.setup import make_run
from experiments.training.state import weights_of


@pytest.fixture(scope="module")
def first(tmp_path_factory, small_config):
    workdir = tmp_path_factory.mktemp("runs") / "first"
    train.run(small_config(), workdir, show_progress=False)
    return workdir


@pytest.fixture(scope="module")
def small_config():
    def make(**changes):
        config = digits.get_config()
        config.update(model="resnet_digits", epochs=1, batch_size=64, train_examples=256)
        config.update(method="momentum_sam", **changes)
        return config

    return make


def test_a_run_starts_from_the_weights_and_statistics_of_another_one(first, small_config):
    config = small_config(pretrained=str(first), seed=5)
    trainer, _ = make_run(config)
    state = train.initial_state(config, trainer)
    _, saved = read_newest(first / "checkpoints", trainer.abstract_state)
    expected = weights_of(saved.state), saved.state.batch_stats
    found = weights_of(state), state.batch_stats
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    fresh = weights_of(train.initial_state(small_config(seed=5), trainer))
    changed = jax.tree.map(lambda a, b: (a != b).any(), fresh, found[0])
    assert any(jax.tree.leaves(changed))


def test_another_model_is_refused(first, small_config, tmp_path):
    config = small_config(pretrained=str(first))
    config.model = "cnn1_8_16"
    with pytest.raises(SystemExit, match="pretrained must be a run of the same model"):
        train.main(config, tmp_path / "other", show_progress=False)


def test_no_such_run_is_refused(small_config, tmp_path):
    config = small_config(pretrained=str(tmp_path / "none"))
    with pytest.raises(SystemExit, match=r"pretrained must be a \.npz file or the workdir"):
        train.main(config, tmp_path / "other", show_progress=False)
