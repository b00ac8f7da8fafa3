"""Every recipe at every scale: its runs build, its commands parse, its figure can be drawn."""

import json
import shlex
import sys
from functools import cache

import jax
import numpy as np
import optax
import pytest
from absl import flags
from flax import nnx
from ml_collections.config_flags import config_flags

from experiments import models, recipes
from experiments.campaign import cost
from experiments.campaign.commands import COMMANDS
from experiments.campaign.runs import different, run_of
from experiments.data import sizes
from experiments.methods.optimizers import read_optimizer
from experiments.methods.table import method
from experiments.recipes.recipe import SCALES
from experiments.training.method_switch import methods_by_epoch

TRAINED = [name for name in recipes.names() if recipes.load(name).command == "train"]


@cache
def cells(name, scale):
    return recipes.load(name).cells(scale)


@cache
def model_builds(model, image_shape):
    *_, size, channels = image_shape
    build = lambda: models.build(model, 10, channels, image_size=size, rngs=nnx.Rngs(0))
    return nnx.eval_shape(build) is not None


def test_items_with_data_have_a_recipe():
    numbers = {"lookbehind": ([1, 2, 3, 4, 5, 7, 8, 9, 10], [1, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14])}
    numbers["aesam"] = ([1, 2, 3, 4], list(range(1, 16)))
    for paper, (tables, figures) in numbers.items():
        for number in tables:
            assert f"{paper}.table{number}" in recipes.names()
        for number in figures:
            assert f"{paper}.figure{number}" in recipes.names()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", TRAINED)
def test_models_and_methods_of_all_runs_build(name, scale):
    for cell in cells(name, scale):
        config = cell.config
        _, image_shape, _ = sizes.IMAGES[config.dataset]
        assert model_builds(config.model, image_shape)
        for text in set(methods_by_epoch(config)):
            tx = method(text).build(read_optimizer(config), 10)
            assert isinstance(tx, optax.GradientTransformation)
        assert cost.gradients(config) > 0


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", recipes.names())
def test_rows_are_unique_and_compared_with_rows_that_exist(name, scale):
    recipe = recipes.load(name)
    labels = [(cell.column, cell.row) for cell in cells(name, scale)]
    assert len(set(labels)) == len(labels)
    for column, row in labels:
        other = recipe.against.get(row)
        assert other is None or (column, other) in labels
    assert set(recipe.seeds) == set(SCALES)


@pytest.mark.parametrize("name", [name for name in recipes.names() if recipes.load(name).published])
def test_published_rows_are_rows_of_the_paper_scale(name):
    labels = {(cell.column, cell.row) for cell in cells(name, "paper")}
    published = {(c, row) for c, rows in recipes.load(name).published.items() for row in rows}
    assert published <= labels | {(column, row) for column, row in published if "k = 10" in row}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", [*TRAINED, "lookbehind.table4"])
def test_commands_parse_to_the_config_of_their_run(name, scale, tmp_path, monkeypatch):
    command = COMMANDS[recipes.load(name).command]
    unique = {}
    for cell in cells(name, scale):
        changed = different(cell.config, command.defaults())
        unique.setdefault((tuple(sorted(changed)), cell.config.switch != ()), cell)
    for cell in unique.values():
        run = run_of(cell, 3, command, tmp_path, None)
        words = shlex.split(run.command_line())
        assert words[:3] == ["python", "-m", "experiments.train"]
        values = flags.FlagValues()
        parsed = config_flags.DEFINE_config_file("config", flag_values=values)
        flags.DEFINE_string("workdir", None, "", flag_values=values)
        monkeypatch.setattr(sys, "argv", words[2:])  # where config flags look for --config.key
        values(words[2:])
        assert values.workdir == str(run.path)
        mine, theirs = (json.loads(c.to_json()) for c in (run.config, parsed.value))
        assert method(theirs.pop("method")) == method(mine.pop("method"))
        assert theirs == mine


def test_updates_of_every_method_have_the_shapes_of_the_weights():
    texts = {m for n in TRAINED for c in cells(n, "laptop") for m in methods_by_epoch(c.config)}
    config = cells("lookbehind.table1", "laptop")[0].config
    grads = {"norm": {"scale": np.ones(3, np.float32)}, "kernel": np.ones((2, 3), np.float32)}
    for text in texts:
        bound = method(text)
        tx, params = bound.build(read_optimizer(config), 10), bound.row.wrap_params(grads)

        def step(params, tx=tx):
            grad_fn = lambda params, i: params
            return tx.update(grads, tx.init(params), params, grad_fn=grad_fn)[0]

        updates = jax.eval_shape(step, params)
        assert jax.tree.map(np.shape, updates) == jax.tree.map(np.shape, params), text
