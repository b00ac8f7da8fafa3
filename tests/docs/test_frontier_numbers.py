"""The tables of README and of Choosing a method have the numbers of the committed runs."""

import json
import pathlib
import re

import numpy as np
import pytest
from scipy import stats

from experiments import demo
from experiments.configs import noisy_digits
from experiments.configs.base import with_changes

ROOT = pathlib.Path(__file__).parents[2]
RESULT = ROOT / "docs" / "results" / "laptop" / "comparison.frontier.json"
ROWS = {row["label"]: row for row in json.loads(RESULT.read_text(encoding="utf-8"))["rows"]}
CONTROL = "SGD at SAM's rate"  # not one of the committed runs
NAMES = {
    "SGD, whose weight decay was tuned too": "SGD",
    "`momentum_sam`": "Momentum-SAM",
    "`ae_looksam`": "AE-LookSAM",
    "`looksam`": "LookSAM",
    "`ae_sam`": "AE-SAM",
    "`sam`": "SAM",
    "`ae_lookbehind_sam`, k = 2": "AE-Lookbehind-SAM",
    "Lookbehind-SAM": "Lookbehind-SAM, k = 2",
    "`lookbehind_sam`, k = 2": "Lookbehind-SAM, k = 2",
    "`lookbehind_sam`, k = 5": "Lookbehind-SAM, k = 5",
}


def table(file, heading):
    """The cells of each row of the table whose heading begins so."""
    text = (ROOT / file).read_text(encoding="utf-8").split(f"\n| {heading} |")[1]
    lines = text.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def spread(name, key, decimals):
    values = ROWS[name]["values"][key]["value"]
    return f"{np.mean(values):.{decimals}f} ± {np.std(values, ddof=1):.{decimals}f}"


def difference(name, other, decimals, plus="+"):
    a, b = (np.array(ROWS[x]["values"]["test_accuracy"]["value"]) for x in (name, other))
    mean, error = np.mean(a - b), stats.sem(a - b)
    low, high = stats.t.interval(0.95, len(a) - 1, mean, error)
    return f"{mean:+.{decimals}f} [{low:{plus}.{decimals}f}, {high:{plus}.{decimals}f}]"


@pytest.mark.parametrize("row", table("README.md", "method | setting"), ids=lambda row: row[0])
def test_a_row_of_the_readme_is_that_of_the_runs(row):
    name, _, accuracy, to_sgd, best, train, percent, gradients = row
    if name == CONTROL:
        return
    name = NAMES.get(name, name)
    assert accuracy == spread(name, "test_accuracy", 2)
    assert to_sgd == ("" if name == "SGD" else difference(name, "SGD", 2))
    assert best == spread(name, "best_test_accuracy", 2)
    assert train == spread(name, "train_accuracy", 1)
    measured = spread(name, "percent_sam", 1)
    assert percent == (measured if " ± 0.0" not in measured else measured.partition(".")[0])
    assert float(gradients) == pytest.approx(ROWS[name]["gradients_per_step"], abs=0.005)


@pytest.mark.parametrize(
    "row", table("docs/choosing-a-method.md", "gradients a step | method"), ids=lambda row: row[1]
)
def test_a_row_of_choosing_a_method_is_that_of_the_runs(row):
    gradients, name, accuracy, to_sam = row
    name = NAMES[name]
    assert accuracy == spread(name, "test_accuracy", 1)
    assert to_sam == ("" if name == "SAM" else difference(name, "SAM", 1, plus=""))
    assert float(gradients) == pytest.approx(ROWS[name]["gradients_per_step"], abs=0.06)


def test_the_headline_spans_the_six_methods_of_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    low, high = re.search(r"six sharpness-aware methods (\d+\.\d)% to (\d+\.\d)%", text).groups()
    names = [row[0] for row in table("README.md", "method | setting")]
    names = [NAMES.get(name, name) for name in names if "SGD" not in name]
    means = [np.mean(ROWS[name]["values"]["test_accuracy"]["value"]) for name in names]
    assert (low, high, len(means)) == (f"{min(means):.1f}", f"{max(means):.1f}", 6)


def test_the_settings_of_the_readme_are_the_chosen_ones():
    settings = {row[0]: row[1] for row in table("README.md", "method | setting")}
    config = noisy_digits.get_config()
    for name, changes in demo.rows().items():
        assert settings[name] == demo._setting(with_changes(config, changes))
