"""The programs of the guide to frameworks, run as they stand there."""

import pathlib
import re

import numpy as np
import pytest
from flax.training import train_state

import optax_lookbehind as ol

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "frameworks.md"
PROGRAMS = dict(
    re.findall(r"^## (.*?)\n.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S | re.M)
)


def examples():
    """Images whose brightness depends on the label."""
    labels = np.arange(40) % 10
    noise = np.random.default_rng(0).normal(size=(40, 8, 8, 1))
    return (noise / 4 + labels[:, None, None, None] / 10).astype(np.float32), labels


def run(name):
    images, labels = examples()
    scope = {"images": images, "labels": labels}
    exec(compile(PROGRAMS[name], f"{PAGE.name}, {name}", "exec"), scope)
    return scope


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_trains(name):
    loss = run(name)["loss"]
    assert 0 < float(loss) < 0.98 * np.log(10)


def test_the_train_state_of_flax_itself_raises_with_what_to_override():
    params = {"w": np.ones(2, np.float32)}
    state = train_state.TrainState.create(apply_fn=None, params=params, tx=ol.sam(0.1))
    with pytest.raises(ValueError, match=r"(?s)^grad_fn is missing.*TrainState\.apply_gradients"):
        state.apply_gradients(grads=params, grad_fn=lambda params, i: params)


def test_the_page_has_every_framework():
    names = " ".join(PROGRAMS)
    for framework in ("Plain JAX", "NNX", "nnx.Optimizer", "TrainState", "Equinox", "Haiku"):
        assert framework in names
