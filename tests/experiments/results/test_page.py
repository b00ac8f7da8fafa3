"""Results as files: JSON, pages and figures."""

import json
import pathlib
import shutil
import xml.etree.ElementTree as ElementTree

import matplotlib.pyplot as plt
import pytest

from experiments import papers
from experiments.results import page
from experiments.results.collect import result_row
from experiments.results.item import Result, evaluate
from experiments.results.metrics import FinishedRun

RESULTS = pathlib.Path(__file__).parents[3] / "docs" / "results" / "laptop"
NAMES = sorted(path.stem for path in RESULTS.glob("*.json"))
# An item for each kind of figure.
KINDS = ("table1", "figure6", "figure7", "figure1", "figure3")


@pytest.mark.parametrize("name", NAMES)
def test_a_published_page_is_that_of_its_json_file(name):
    result = page.read(name, papers.load(name), "laptop", RESULTS)
    assert page.markdown(result) == (RESULTS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_published_json_file_is_what_a_result_of_its_numbers_would_be(name):
    result = page.read(name, papers.load(name), "laptop", RESULTS)
    saved = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(page.to_json_types(page.as_json(result)))) == saved


@pytest.mark.parametrize("name", [*(f"lookbehind.{kind}" for kind in KINDS), "aesam.figure8"])
def test_figures_can_be_drawn_again_to_the_same_bytes(name, tmp_path):
    shutil.copy(RESULTS / f"{name}.json", tmp_path)
    images = []
    for _ in range(2):
        result = page.read(name, papers.load(name), "laptop", tmp_path)
        *_, svg = page.write(result, tmp_path)
        assert ElementTree.parse(svg).getroot().tag.endswith("svg")
        images.append(svg.read_bytes())
    assert images[0] == images[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_published_figure_can_be_drawn(name):
    result = page.read(name, papers.load(name), "laptop", RESULTS)
    plt.close(result.item.draw(result))


def test_a_file_that_lacks_a_row_is_an_error(tmp_path):
    record = json.loads((RESULTS / "lookbehind.table5.json").read_text())
    record["rows"].pop()
    (tmp_path / "lookbehind.table5.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"has no row with the parameters .*asam"):
        page.read("lookbehind.table5", papers.load("lookbehind.table5"), "laptop", tmp_path)


def made_up(name, scale, accuracy=lambda place, seed: 90.0 + place + seed, diverged=()):
    """A result of runs with given accuracies in their last epoch."""
    item = papers.load(name)
    rows = []
    for place, row in enumerate(item.rows(scale)):
        runs = {}
        for seed in range(2):
            line = {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5}
            line["test_accuracy"] = accuracy(place, seed) / 100
            config = row.config.copy_and_resolve_references()
            config.seed = seed
            runs[f"{place}-{seed}"] = FinishedRun(config, [line], line, {})
        rows.append(result_row(item, row, runs, diverged))
    return evaluate(Result(name, item, scale, "2000-01-01", rows))


def test_published_numbers_stand_next_to_those_of_the_same_panel_and_are_drawn():
    result = made_up("lookbehind.table3", "paper")
    section = page.markdown(result).split("## CIFAR-10, ResNet-34\n")[1].split("##")[0]
    (line,) = [
        line for line in section.splitlines() if line.startswith("| Lookbehind-SAM, alpha = 0.5 ")
    ]
    assert "96.27 ± 0.07" in line
    figure = result.item.draw(result)
    assert len(figure.axes) == 5
    plt.close(figure)


def test_published_panels_that_a_scale_does_not_have_follow_the_table():
    text = page.markdown(made_up("lookbehind.table8", "laptop"))
    assert "83.72 ± 0.10" in text.split("## Published\n")[1]


def test_an_item_without_rows_says_why_and_has_no_other_file(tmp_path):
    result = made_up("aesam.table2", "laptop")
    (file,) = page.write(result, tmp_path)
    assert "Nothing of ImageNet's size is trained" in file.read_text()


def test_a_diverged_seed_is_named_in_its_row():
    assert "(1 diverged)" in page.markdown(made_up("lookbehind.table5", "laptop", diverged=(2,)))


def test_a_row_that_did_not_train_is_marked_and_not_compared_or_drawn():
    result = made_up(
        "lookbehind.table1",
        "laptop",
        lambda place, seed: 39.0 if place == 3 else 90.0 + seed * place,
    )
    multistep = result.rows[3]
    assert (multistep.trained, multistep.difference) == (False, None)
    assert "| Multistep-SAM (did not train) " in page.markdown(result)
    figure = result.item.draw(result)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "Multistep-SAM" not in names
    assert len(names) == len(result.rows) - 1
    plt.close(figure)
