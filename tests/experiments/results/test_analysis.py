"""Figures of ``experiments.analyze``, and its report."""

import datetime
import json
import re
import xml.etree.ElementTree as ElementTree

import jax
import numpy as np
import pytest

from experiments.results import analysis, figures
from experiments.results.measures import MEASURES
from experiments.results.measures.measure import Group, curves
from experiments.results.table import Table
from tests.support.analyzed_runs import analysis_of

DRAWINGS = [drawing.name for measure in MEASURES.values() for drawing in measure.drawings]


@pytest.fixture
def report(analyzed):
    return (analyzed / "report.md").read_text(encoding="utf-8")


def table_of(text):
    """The rows of the first table: heading to its cells."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {head.strip(): [cell.strip() for cell in cells] for head, *cells in lines}


def test_every_figure_is_there_as_png_and_as_svg_and_in_the_report(analyzed, report):
    for name in DRAWINGS:
        assert (analyzed / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(analyzed / f"{name}.svg").getroot().tag.endswith("svg")
    names = {f"{name}.{ending}" for name in DRAWINGS for ending in ("png", "svg")}
    others = {"analysis.json", "measures", "report.md"}
    assert {path.name for path in analyzed.iterdir()} == names | others
    assert re.findall(r"!\[.*\]\((.*)\)", report) == [f"{name}.svg" for name in DRAWINGS]


def test_the_table_has_mean_and_deviation_of_each_group(report):
    table = table_of(report)
    assert table[""] == ["SGD", "Lookbehind-SAM (k=2)", "Lookbehind-SAM (k=3)", "Lookahead-SAM"]
    assert table["seeds"] == ["0, 1, 2", "0", "0", "0"]
    assert table["epochs"] == ["2"] * 4
    assert all(float(rate) > 0 for rate in table["learning rate"])
    assert [cell.partition(":")[0] for cell in table["method"]][::3] == ["none", "lookahead_sam"]
    sgd, *lookbehind, _ = table["length of a step, of the optimizer's"]
    assert sgd == "1"
    assert all(float(length) > 1 for length in lookbehind)
    assert re.fullmatch(r"\d+\.\d+ ± \d+\.\d+", table["m-sharpness, radius 0.05"][0])
    assert "±" not in table["m-sharpness, radius 0.05"][1]
    # Lookahead-SAM was trained on other data; SGD's runs are the first of their seeds.
    same, other = (table[f"barrier to a run of {seed} seed"] for seed in ("the same", "another"))
    assert [cell == "-" for cell in same] == [True, False, False, True]
    assert [cell == "-" for cell in other] == [False, True, True, True]
    for heading in ("test accuracy, %", "top Hessian eigenvalue", "Hessian trace"):
        assert len(table[heading]) == 4


def test_many_groups_are_rows_of_the_table(monkeypatch, runs, tmp_path, capsys):
    monkeypatch.setattr(analysis, "_MANY_GROUPS", 1)
    analysis_of([runs["sgd-0"], runs["k2"]], tmp_path, "--measures=training")
    table = table_of(capsys.readouterr().out)
    assert [name for name in table if not name.startswith(":")] == ["", "SGD", "Lookbehind-SAM"]


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
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert report.count("![") == 2
    analysis_of([runs["k2"]], tmp_path)
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Skipped: interpolation: needs two runs of the same architecture" in report


def group(*curves):
    """A group whose seeds have logged these training losses."""
    rows = [
        {"metric": "train_loss", "seed": seed, "epoch": epoch, "value": value}
        for seed, curve in enumerate(curves)
        for epoch, value in enumerate(curve, start=1)
    ]
    return Group("SGD", figures.styles(["none"])[0], Table(rows))


def drawn(found):
    """The curve that is drawn of a group."""
    _, (axis,) = figures.panels([""])
    curves("train_loss", "epoch")(axis, [found])
    return axis.get_lines()[0].get_ydata()


def test_non_finite_values_leave_a_gap_in_the_curve():
    np.testing.assert_array_equal(drawn(group([1.0, np.nan], [1.0, 2.0])), [1.0, np.nan])


def test_runs_of_different_length_are_averaged_where_all_have_an_epoch():
    np.testing.assert_array_equal(drawn(group([3.0, 1.0, 7.0], [1.0, 3.0])), [2.0, 2.0])


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_table_has_the_accuracy_of_the_evaluated_split(split):
    rows = [
        {"metric": metric, "seed": 0, "epoch": epoch, "value": value}
        for metric, curve in (("train_loss", [0.9, 0.5]), (f"{split}_accuracy", [0.25, 0.75]))
        for epoch, value in enumerate(curve, start=1)
    ]
    numbers = MEASURES["training"].numbers({})
    found = {n.heading: n.by_seed(Table(rows)) for n in numbers if n.by_seed(Table(rows))}
    words = {"val": "validation", "test": "test"}[split]
    assert found == {"logged training loss": {0: 0.5}, f"{words} accuracy, %": {0: 75.0}}
