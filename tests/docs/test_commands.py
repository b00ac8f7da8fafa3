"""The commands in README and docs parse, and their models and methods can be built."""

import re
import shlex
from functools import cache
from pathlib import Path

import jax
import pytest
from absl import flags
from flax import nnx

from experiments import models
from experiments.cli import parse_config
from experiments.configs.validation import check_ranges
from experiments.methods.optimizers import read_optimizer
from experiments.training.phases import read_phases

ROOT = Path(__file__).parents[2]
SHAPES = {"digits": (8, 1, 10), "cifar10": (32, 3, 10), "cifar100": (32, 3, 100)}


def commands():
    """Page and flags of each training command in an indented block."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        train = ""
        for line in page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            line = line.replace("$train", train).replace("$seed", "0")
            if assignment := re.match(r'\s+train="(.*)"$', line):
                train = assignment[1]
            elif line.startswith("    ") and "experiments.train " in line:
                words = [w for word in shlex.split(line) for w in _words(word)]
                yield page.name, [word for word in words if word.startswith("--config")]


def _words(word):
    """The words of a command that is quoted as one, as in ``ssh --command="..."``."""
    return shlex.split(word) if "experiments.train " in word else [word]


@cache
def params_of(name, image_size, channels, num_classes, dtype):
    def build():
        return models.build(
            name, num_classes, channels, image_size=image_size, dtype=dtype, rngs=nnx.Rngs(0)
        )

    return nnx.state(nnx.eval_shape(build), nnx.Param)


COMMANDS = {f"{page}: {' '.join(words)}": words for page, words in commands()}


def test_the_docs_have_commands():
    assert len(COMMANDS) >= 20


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_can_be_built(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    config, _ = parse_config(["train", *COMMANDS[command]], "digits", flags.FlagValues())
    check_ranges(config)
    methods = [phase.method for phase in read_phases(config)]
    if config.task != "classification":
        return
    shape = SHAPES.get(config.dataset, (config.image_size, 3, 1000))
    params = params_of(config.model, *shape, config.dtype)
    for chosen in methods:
        tx = chosen.build(read_optimizer(config), 10)
        jax.eval_shape(lambda w, tx=tx, row=chosen.row: tx.init(row.wrap_params(w)), params)
