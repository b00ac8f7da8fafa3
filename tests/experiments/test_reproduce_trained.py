"""Rows that did not train are marked and compared with nothing."""

import json
import pathlib

import numpy as np
import pytest

from experiments import recipes
from experiments.campaign import report
from experiments.campaign.collect import plan, summarize
from experiments.recipes import quantities
from experiments.recipes.lookbehind import table10
from tests.support.made_up_runs import made_up

RESULTS = pathlib.Path(__file__).parents[2] / "docs" / "results" / "laptop"


def test_the_accuracies_of_sgd_are_the_published_ones():
    published = {}
    for name, row in ("lookbehind.table1", "SGD"), ("aesam.table3", "ERM"):
        for cell in json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["cells"]:
            if cell["row"] == row:
                data = cell["config"].get("train_examples"), cell["config"]["label_noise"]
                published[data] = cell["statistics"]["test_accuracy"]["mean"]
    assert published == pytest.approx(quantities._SGD, abs=0.005)


def test_ten_points_below_sgd_is_not_trained():
    config = recipes.load("lookbehind.table1").cells("laptop")[0].config
    assert quantities.trained(config, 58.2)
    assert not quantities.trained(config, 58.1)
    assert quantities.trained(recipes.load("lookbehind.table1").cells("paper")[0].config, 0.0)


def result(name, tmp_path, accuracy):
    """The result of a recipe whose rows in ``accuracy`` have that test accuracy throughout."""
    planned = plan(name, recipes.load(name), "laptop", tmp_path, 3, None)
    found = made_up(planned)
    for (cell, _), by_seed in zip(planned.runs, found, strict=True):
        for run in by_seed.values() if cell.row in accuracy else ():
            for line in run.history:
                line["test_accuracy"] = accuracy[cell.row]
    return summarize(planned, found)


def test_a_row_that_did_not_train_is_marked_not_compared_and_not_drawn(tmp_path):
    found = result("lookbehind.table1", tmp_path, {"Multistep-SAM": 0.39})
    (cell,) = [each for each in found.cells if each.cell.row == "Multistep-SAM"]
    assert not cell.trained
    assert cell.comparison is None
    assert "| Multistep-SAM (did not train) " in report.as_markdown(found, "2000-01-01")
    rows = [each.cell.row for each in report.without_untrained(found).cells]
    assert len(rows) == len(found.cells) - 1
    assert "Multistep-SAM" not in rows


def percentages(found, row):
    (cell,) = [each for each in found.cells if each.cell.row == row]
    return {key: value.values.tolist() for key, value in cell.statistics.items()}


def test_a_run_that_never_reaches_multistep_counts_as_all_of_its_gradients(tmp_path):
    row, multistep = table10._row("SAM", 0.5, 2), table10._multistep("SAM", 2)
    found = percentages(result("lookbehind.table10", tmp_path, {row: 0.7, multistep: 0.9}), row)
    assert found["percent_of_multistep"] == [100.0] * 3
    assert found["reaches"] == [0.0] * 3
    found = percentages(result("lookbehind.table10", tmp_path, {row: 0.9, multistep: 0.9}), row)
    assert np.array(found["percent_of_multistep"]) == pytest.approx(100 / 40)
    assert found["reaches"] == [1.0] * 3


def test_a_multistep_that_did_not_train_is_no_level_to_reach(tmp_path):
    row, multistep = table10._row("SAM", 0.5, 2), table10._multistep("SAM", 2)
    found = percentages(result("lookbehind.table10", tmp_path, {row: 0.7, multistep: 0.2}), row)
    assert "percent_of_multistep" not in found
