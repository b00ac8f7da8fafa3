"""Fixtures of the experiments' tests: a small model and small runs."""

from functools import partial

import jax
import pytest

from experiments import models
from experiments.configs import digits
from experiments.models.resnet import ResNet
from tests.support.analyzed_runs import analysis_of, train_runs
from tests.support.dense_model import Dense


@pytest.fixture(scope="session", autouse=True)
def _compile_once(tmp_path_factory):
    """A compilation cache, so that runs resumed in another process or object do not recompile."""
    with pytest.MonkeyPatch.context() as patch:
        settings = {
            "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
            "jax_persistent_cache_min_compile_time_secs": 0,
            "jax_persistent_cache_min_entry_size_bytes": -1,
        }
        for name, value in settings.items():
            jax.config.update(name, value)
            patch.setenv(name.upper(), str(value))
        yield


@pytest.fixture(scope="session")
def _tiny_model():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "tiny", partial(ResNet, widths=(4,), blocks=(1,)))
        patch.setitem(models.MODELS, "dense", Dense)
        yield


@pytest.fixture
def config(_tiny_model):
    """The digits config with a tiny model and few steps."""
    config = digits.get_config()
    config.update(model="tiny", epochs=2, batch_size=128)
    return config


@pytest.fixture(scope="session")
def runs(_tiny_model, tmp_path_factory):
    """Workdirs of small runs, by name."""
    return train_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def analyzed(runs, tmp_path_factory):
    """The folder of an analysis of all runs."""
    output = tmp_path_factory.mktemp("analysis")
    analysis_of(runs.values(), output)
    return output
