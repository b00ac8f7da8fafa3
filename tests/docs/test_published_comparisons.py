"""Comparisons of Lookbehind with other methods say which learning rates their rows have."""

import json
import pathlib
import re

import pytest

from experiments import demo, recipes
from experiments.campaign.report import STEP_LENGTH
from experiments.configs import noisy_digits
from experiments.configs.base import with_changes

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = sorted((ROOT / "docs" / "results").glob("*/*.json"))


def tables(page):
    """The sections of a page that have rows of Lookbehind next to accuracies or losses."""
    for section in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.M):
        measured = re.search(r"^\|.*(accuracy|loss|BLEU).*\|$", section, re.M)
        if measured and re.search(r"^\| (ER \+ )?Lookbehind", section, re.M):
            yield section


def test_the_table_of_the_readme_has_the_settings_chosen_on_held_out_data():
    (section,) = tables(ROOT / "README.md")
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", section, re.M))
    config = noisy_digits.get_config()
    for name, values in demo.rows().items():
        assert rows[name] == demo._setting(with_changes(config, values))
    assert "Every method has its own learning rate" in section


@pytest.mark.parametrize("name", ["results", "training", "translation", "lifelong-learning"])
def test_a_table_with_lookbehind_says_which_learning_rates_it_has(name):
    sections = list(tables(ROOT / "docs" / f"{name}.md"))
    assert sections
    for section in sections:
        assert re.search(r"learning\s+rate", section, re.I), section.splitlines()[0]


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_a_table_at_one_learning_rate_says_that_step_lengths_differ(file):
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    compared = {}
    for cell in cells:
        rate = cell["config"].get("learning_rate")
        compared.setdefault((cell["column"], rate), set()).add(cell["config"].get("method"))
    unlike = any(len(methods) > 1 and "lookbehind" in str(methods) for methods in compared.values())
    own_rates = len({rate for _, rate in compared}) > 1
    recipe = recipes.load(file.stem)
    with_sgd = all(cell.config.optimizer == "sgd" for cell in recipe.cells(file.parent.name))
    page = file.with_suffix(".md").read_text(encoding="utf-8")
    # Adam's steps do not depend on the scale of what it gets.
    assert (STEP_LENGTH in page) == (unlike and not own_rates and with_sgd)
