"""Metrics that are computed from several runs, and thresholds below which a run did not train."""

import json
import pathlib

import pytest

from experiments import papers
from experiments.papers.comparison.methods import DEMO, FURTHER, chosen
from experiments.papers.lookbehind import lifelong, training
from experiments.papers.setting import SGD_ON_DIGITS, noisy_digits
from experiments.results.table import Table

RESULTS = pathlib.Path(__file__).parents[3] / "docs" / "results" / "laptop"


def test_the_accuracies_of_sgd_are_the_published_ones():
    published = {}
    for name, images in ("lookbehind.table1", 704), ("aesam.table3", 1437):
        for row in json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]:
            if row["params"]["method"] == "none":
                noise = row["config"]["label_noise"]
                published[images, noise] = row["summary"]["test_accuracy"]["mean"]
    assert published == pytest.approx(dict(SGD_ON_DIGITS), abs=0.005)
    assert noisy_digits().trained_above == pytest.approx(58.15)
    assert papers.load("lookbehind.table1").rows("paper")[0].trained_above is None


def curves(multistep, lookbehind):
    """Accuracies over epochs of both methods, with k = 2."""
    both = {"multistep_sam": multistep, "lookbehind_sam": lookbehind}
    return Table(
        {"setting": noisy_digits().name, "method": method, "k": 2, "seed": 0, "epoch": epoch + 1}
        | {"metric": "test_accuracy_curve", "value": value}
        | ({"alpha": 0.5} if method == "lookbehind_sam" else {})
        for method, accuracies in both.items()
        for epoch, value in enumerate(accuracies)
    )


@pytest.mark.parametrize(
    ("multistep", "lookbehind", "percent", "reaches"),
    [
        ([60, 80, 90, 85], [70, 85, 80, 80], 50.0, 1.0),
        ([60, 80, 90, 85], [90, 60, 60, 60], 25.0, 1.0),
        ([60, 80, 90, 85], [70, 70, 70, 84], 100.0, 0.0),  # never: the least that it can be
    ],
)
def test_the_share_of_multisteps_gradients(multistep, lookbehind, percent, reaches):
    rows = {
        row["metric"]: row for row in training._percent_of_multistep(curves(multistep, lookbehind))
    }
    assert rows["percent_of_multistep"]["value"] == percent
    assert rows["reaches"]["value"] == reaches
    assert rows["reaches"]["method"] == "lookbehind_sam"
    assert "epoch" not in rows["reaches"]


def test_a_multistep_that_did_not_train_is_no_level_to_reach():
    assert list(training._percent_of_multistep(curves([60, 20], [70, 80]))) == []


def entry(metric, value, **columns):
    return {"setting": "digits", "seed": 0, "metric": metric, "value": value, **columns}


def test_the_effect_of_replay_is_paired_with_the_row_without():
    table = Table(
        entry("forgetting", value, method=method, learner=learner)
        for method, learner, value in (
            ("sam", None, 20.0), ("none", None, 30.0), ("sam", "er", 5.0), ("none", "cmaml", 1.0)
        )
    )  # fmt: skip
    (effect,) = lifelong._effect_of_replay(table)
    assert (effect["metric"], effect["value"]) == ("effect_of_replay", -15.0)
    assert (effect["method"], effect["learner"]) == ("sam", "er")


def test_the_chosen_setting_of_a_method_has_its_highest_accuracy():
    accuracies = {0.1: 50.0, 0.03: 60.0, 0.01: 60.0}
    table = Table(
        entry("average_accuracy", value, method="sam", learner=None, rate=rate)
        for rate, value in accuracies.items()
    )
    found = {row["rate"]: row["value"] for row in lifelong._chosen(table)}
    assert found == {0.1: 0.0, 0.03: 1.0, 0.01: 1.0}


@pytest.mark.parametrize("group", [DEMO, FURTHER])
def test_every_method_of_a_comparison_has_one_choice_of_its_grid(group):
    assert len({len(each.settings) for each in group}) == 1
    for each, choice in zip(group, chosen(group), strict=True):
        assert choice.setting in each.settings
        edges = [k for k, v in each.grid.items() if choice.setting[k] in (min(v), max(v))]
        assert list(choice.at_edge) == edges
