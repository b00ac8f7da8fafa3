"""The programs of the guide to frameworks, run as they stand there."""

import pathlib
import re

import numpy as np
import pytest

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


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_trains(name):
    loss = run(name)["loss"]
    assert 0 < float(loss) < 0.98 * np.log(10)


def test_the_page_has_every_framework():
    names = " ".join(PROGRAMS)
    for framework in ("Plain JAX", "NNX", "nnx.Optimizer", "TrainState", "Equinox", "Haiku"):
        assert framework in names
