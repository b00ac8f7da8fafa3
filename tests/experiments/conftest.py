"""A small set-up that every test of the experiments can afford."""

from functools import partial

import pytest

from experiments import models
from experiments.configs import digits
from experiments.models.resnet import ResNet


@pytest.fixture(scope="session")
def _tiny_model():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "tiny", partial(ResNet, widths=(4,), blocks=(1,)))
        yield


@pytest.fixture
def config(_tiny_model):
    """The digits config with a tiny model and few steps."""
    config = digits.get_config()
    config.update(model="tiny", epochs=2, batch_size=128)
    return config
