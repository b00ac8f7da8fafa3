"""The recipe of Table 2: its runs build, its commands parse, its quantities read a run."""

import json
import shlex
import sys

import pytest
from absl import flags
from ml_collections.config_flags import config_flags

from experiments.campaign import cost
from experiments.campaign.commands import COMMANDS
from experiments.campaign.runs import run_of
from experiments.configs import continual
from experiments.continual import setup
from experiments.methods.optimizers import read_optimizer
from experiments.methods.table import method
from experiments.recipes.lookbehind import table2
from experiments.recipes.recipe import SCALES, RunResult

COMMAND = COMMANDS["continual"]


def test_the_rows_are_those_of_the_table():
    for scale, columns in {"laptop": 1, "gpu": 1, "paper": 2}.items():
        labels = [(cell.column, cell.row) for cell in table2.cells(scale)]
        assert len(set(labels)) == len(labels) == 10 * columns
    paper = {(cell.column, cell.row) for cell in table2.cells("paper")}
    published = table2.RECIPE.published
    assert paper == {(column, row) for column, rows in published.items() for row in rows}


@pytest.mark.parametrize("scale", SCALES)
def test_learners_and_methods_build_and_only_four_rows_have_no_memory(scale):
    for cell in table2.cells(scale):
        bound = setup.learner(cell.config.learner)
        assert method(bound.method(cell.config.method)).build(read_optimizer(cell.config), 10)
        assert cost.gradients(cell.config) > 0
        without = not cell.row.startswith("ER") and not bound.is_meta
        assert (cell.config.memory == 0) == without


def test_the_paper_scale_is_the_papers_setup():
    steps = {"Split-CIFAR100": 45_000, "Split-TinyImageNet": 90_000}
    for cell in table2.cells("paper"):
        if cell.row == "SGD":
            assert cost.gradients(cell.config) == steps[cell.column]


@pytest.mark.parametrize("row", ["SGD", "ER + Lookbehind-SAM", "Lookbehind-C-MAML"])
def test_commands_parse_to_the_config_of_their_run(row, tmp_path, monkeypatch):
    (cell, *_) = [cell for cell in table2.cells("paper") if cell.row == row]
    run = run_of(cell, 3, COMMAND, tmp_path, None)
    words = shlex.split(run.command_line())
    assert words[:3] == ["python", "-m", "experiments.continual"]
    values = flags.FlagValues()
    parsed = config_flags.DEFINE_config_file("config", flag_values=values)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    monkeypatch.setattr(sys, "argv", words[2:])  # where config flags look for --config.key
    values(words[2:])
    mine, theirs = (json.loads(c.to_json()) for c in (run.config, parsed.value))
    assert method(theirs.pop("method")) == method(mine.pop("method"))
    assert theirs == mine


def test_the_effect_of_replay_is_paired_with_the_row_without():
    peers = {}
    for row, forgetting in {"SAM": 0.2, "ER + SAM": 0.05}.items():
        peers[row] = RunResult(continual.get_config(), [], {"forgetting": forgetting}, {}, peers)
    (effect,) = [q for q in table2.RECIPE.quantities if q.key == "effect_of_replay"]
    assert effect.value(peers["ER + SAM"]) == pytest.approx(-15)
    assert effect.value(peers["SAM"]) is None
