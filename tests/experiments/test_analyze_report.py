"""Figures of ``experiments.analyze``, and its report, which needs no other file."""

import base64
import datetime
import json
import re
import xml.etree.ElementTree as ElementTree

import jax
import numpy as np
import pytest

from experiments.analysis import MEASURES, aggregate, figures
from experiments.analysis.groups import seed_statistics, to_json_types
from experiments.analysis.measure import GroupResult, common_epochs
from experiments.reporting.curves import styles
from tests.support.analyzed_runs import analysis_of

DRAWINGS = [drawing.name for measure in MEASURES.values() for drawing in measure.drawings]


@pytest.fixture
def report(analyzed):
    return (analyzed / "report.html").read_text(encoding="utf-8")


def cells(report):
    """The table: heading to what stands beside it."""
    rows = re.findall(r"<tr>(.*?)</tr>", report)
    return {row[0]: row[1:] for row in (re.findall(r"<t[hd]>(.*?)</t[hd]>", r) for r in rows)}


def test_every_figure_is_there_as_png_and_as_svg(analyzed):
    for name in DRAWINGS:
        assert (analyzed / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(analyzed / f"{name}.svg").getroot().tag.endswith("svg")
    names = {f"{name}.{ending}" for name in DRAWINGS for ending in ("png", "svg")}
    assert {path.name for path in analyzed.iterdir()} == names | {
        "analysis.json",
        "measures",
        "report.html",
    }


def test_the_report_shows_all_figures_and_refers_to_nothing_outside_itself(analyzed, report):
    sources = re.findall(r'(?:src|href)="(.*?)"', report)
    figures = [base64.b64decode(source.partition("base64,")[2]) for source in sources]
    assert figures == [(analyzed / f"{name}.svg").read_bytes() for name in DRAWINGS]
    assert not re.search(r"https?:|url\(|@import|<script", report)


def test_the_table_has_mean_and_deviation_of_each_group(report):
    table = cells(report)
    assert table[""] == ["SGD", "Lookbehind-SAM (k=2)", "Lookbehind-SAM (k=3)", "Lookahead-SAM"]
    assert table["seeds"] == ["0, 1, 2", "0", "0", "0"]
    assert table["epochs"] == ["2"] * 4
    assert re.fullmatch(r"\d+\.\d+ ± \d+\.\d+", table["m-sharpness, radius 0.05"][0])
    assert "±" not in table["m-sharpness, radius 0.05"][1]
    # Lookahead-SAM was trained on other data; SGD's runs are the first of their seeds.
    same, other = (table[f"barrier to a run of {seed} seed"] for seed in ("the same", "another"))
    assert [cell == "-" for cell in same] == [True, False, False, True]
    assert [cell == "-" for cell in other] == [False, True, True, True]
    for heading in ("test accuracy, %", "top Hessian eigenvalue", "Hessian trace"):
        assert len(table[heading]) == 4


def test_many_groups_are_rows_of_the_table(monkeypatch, analyzed, runs, capsys):
    monkeypatch.setattr(aggregate, "_MANY_GROUPS", 1)
    analysis_of([runs["sgd-0"], runs["k2"]], analyzed.parent / "rows", "--measures=training")
    printed = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines()[:4]]
    assert printed == ["", printed[1], "SGD", "Lookbehind-SAM"]


def test_report_and_numbers_say_how_they_were_made(analyzed, report):
    made = json.loads((analyzed / "analysis.json").read_text())["made"]
    assert made["command"].startswith("python -m experiments.analyze ")
    assert made["versions"]["jax"] == jax.__version__
    assert datetime.date.fromisoformat(made["date"]) <= datetime.date.today()
    for text in (made["date"], made["versions"]["optax"], f"--output={analyzed}"):
        assert text in report


def test_the_report_says_on_what_was_measured(report):
    assert "6 runs in 4 groups: dense on digits. " in report
    assert "Measured on 512 (4 minibatches of m = 128) training examples, not augm" in report
    assert "on 100 test examples under noise." in report
    assert "Means over 2 draws" in report


def test_report_of_one_run_lists_the_skipped_measures(runs, tmp_path):
    analysis_of([runs["k2"]], tmp_path, "--measures=training,m_sharpness")
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert report.count("<figure") == 2
    analysis_of([runs["k2"]], tmp_path)
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Skipped: interpolation: needs two runs of the same architecture" in report


def result(name, style, values):
    """A group's result for a measure that was cut short or went astray."""
    runs = [{"epochs": list(range(1, 1 + len(v))), "loss": v} for v in values]
    common = common_epochs(runs)
    averages = to_json_types(seed_statistics(common, ["loss"]))
    return GroupResult(name, style, runs, {"epochs": common[0]["epochs"]}, **averages)


def test_non_finite_values_leave_a_gap_in_the_curve():
    found = result("SGD", next(styles()), [[1.0, np.inf], [1.0, 2.0]])
    assert found.mean["loss"] == [1.0, None]
    _, (axis,) = figures.panels(1)
    figures.curve(axis, found, found.shared["epochs"], "loss")
    np.testing.assert_array_equal(axis.get_lines()[0].get_ydata(), [1.0, np.nan])


def test_runs_of_different_length_are_averaged_where_all_have_an_epoch():
    found = result("SGD", next(styles()), [[3.0, 1.0, 7.0], [1.0, 3.0]])
    assert found.shared["epochs"] == [1, 2]
    assert found.mean["loss"] == [2.0, 2.0]
    np.testing.assert_allclose(found.std["loss"], np.sqrt(2) * np.ones(2))


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_table_has_the_accuracy_of_the_evaluated_split(split):
    result = {"train_loss": [0.5], f"{split}_accuracy": [0.25, 0.75]}
    entries = [e for e in MEASURES["training"].entries(None) if e.applies_to(result)]
    values = {entry.heading: entry.value(result) for entry in entries}
    words = {"val": "validation", "test": "test"}[split]
    assert values == {"logged training loss": 0.5, f"{words} accuracy, %": 75.0}
