"""Tables, JSON and figures of every recipe, from made-up runs."""

import json

import matplotlib.pyplot as plt
import pytest

from experiments import recipes
from experiments.campaign import report
from experiments.campaign.collect import plan, summarize
from tests.support.made_up_runs import made_up

TRAINED = [name for name in recipes.names() if recipes.load(name).command == "train"]
# The first recipe with each kind of figure.
KINDS = {recipes.load(name).draw.__qualname__: name for name in reversed(TRAINED)}.values()


def result_of(name, scale, tmp_path, seeds=2):
    planned = plan(name, recipes.load(name), scale, tmp_path, seeds, None)
    return planned, summarize(planned, made_up(planned))


@pytest.mark.parametrize(
    "name",
    [n if n in KINDS else pytest.param(n, marks=pytest.mark.slow) for n in TRAINED],
)
def test_the_laptops_result_can_be_written_and_drawn(name, tmp_path):
    planned, result = result_of(name, "laptop", tmp_path)
    files = report.write(planned, result, tmp_path)
    assert all(file.stat().st_size > 0 for file in files)
    found = json.loads(files[0].read_text())
    assert len(found["cells"]) == len(planned.runs)
    assert found["choices"]
    assert found["limits"]
    text = files[1].read_text()
    for cell, _ in planned.runs:
        assert cell.row in text


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["gpu", "paper"])
@pytest.mark.parametrize("name", TRAINED)
def test_results_of_the_larger_scales_can_be_drawn(name, scale, tmp_path):
    planned, result = result_of(name, scale, tmp_path)
    plt.close(planned.recipe.draw(result))
    assert report.as_markdown(result, "2000-01-01")


def test_published_numbers_stand_beside_those_of_the_same_column(tmp_path):
    _, result = result_of("lookbehind.table3", "paper", tmp_path)
    text = report.as_markdown(result, "2000-01-01")
    section = text.split("## CIFAR-10, ResNet-34\n")[1].split("##")[0]
    (line,) = [line for line in section.splitlines() if line.startswith("| Lookbehind-SAM ")]
    assert "96.27 ± 0.07" in line


def test_published_columns_that_a_scale_does_not_have_follow_the_table(tmp_path):
    _, result = result_of("lookbehind.table3", "laptop", tmp_path)
    text = report.as_markdown(result, "2000-01-01")
    assert "96.27 ± 0.07" in text.split("## Published\n")[1]


def test_a_diverged_seed_is_named_in_its_cell(tmp_path):
    planned = plan(
        "lookbehind.table5", recipes.load("lookbehind.table5"), "laptop", tmp_path, 2, None
    )
    found = made_up(planned)
    del found[0][1]
    run = planned.runs[0][1][1]
    run.path.mkdir(parents=True)
    (run.path / "diverged.json").write_text('{"message": "the loss is nan"}\n')
    text = report.as_markdown(summarize(planned, found), "2000-01-01")
    assert "(1 diverged)" in text
