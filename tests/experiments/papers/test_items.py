"""Every item at both scales: rows are distinct, build, and are compared with existing ones."""

from functools import cache

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from experiments import models, papers, reproduce
from experiments.methods.optimizers import read_optimizer
from experiments.methods.table import method
from experiments.papers.setting import EXAMPLES
from experiments.results.collect import plan
from experiments.results.cost import gradients
from experiments.results.item import SCALES, reference
from experiments.training.phases import read_phases

SHAPES = {"digits": (8, 1), "cifar10": (32, 3), "cifar100": (32, 3), "imagenet2012": (224, 3)}
ALL = [(name, scale) for name in papers.ITEMS for scale in SCALES]


@cache
def rows(name, scale):
    return papers.load(name).rows(scale)


@cache
def build_model(name, dataset):
    size, channels = SHAPES[dataset]
    make = lambda: models.build(name, 10, channels, image_size=size, rngs=nnx.Rngs(0))
    return nnx.eval_shape(make)


def test_every_table_and_figure_with_data_is_an_item():
    numbers = {"lookbehind": ([1, 2, 3, 4, 5, 7, 8, 9, 10], [1, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14])}
    numbers["aesam"] = ([1, 2, 3, 4], list(range(1, 16)))
    expected = [
        f"{paper}.{kind}{number}"
        for paper, both in numbers.items()
        for kind, of_kind in zip(("table", "figure"), both, strict=True)
        for number in of_kind
    ]
    ours = [
        "comparison.frontier",
        *(f"cifar.{name}" for name in ("methods", "controls", "when")),
        *(f"forecasting.{name}" for name in ("table", "cell", "short")),
        *(f"radius.{name}" for name in ("digits", "cifar", "forecasting", "language")),
    ]
    assert [*expected, *ours] == list(papers.ITEMS)


def test_an_unknown_name_lists_the_valid_ones_and_the_nearest():
    with pytest.raises(SystemExit) as error:
        reproduce.main(["lookbehind.tabel1"])
    assert "did you mean 'lookbehind.table1'" in str(error.value)
    assert "aesam.figure15" in str(error.value)


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_rows_are_distinct_and_compared_with_a_row_of_their_panel(name, scale):
    item, found = papers.load(name), rows(name, scale)
    assert set(item.seeds) == set(SCALES)
    if not found:
        assert scale == "laptop" or "have not been chosen yet" in item.limits[scale]
        assert item.limits[scale]
    labels = [
        (item.heading(row.params), label)
        for row, label in zip(found, item.labels(found), strict=True)
    ]
    assert len(set(labels)) == len(labels)
    if name != "lookbehind.table7":  # thousands of rows, not compared
        for place, row in enumerate(found):
            assert reference(found, item, row.params) != place


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_models_and_methods_of_all_rows_build_and_have_a_cost(name, scale):
    texts = set()
    for row in rows(name, scale):
        config = row.config
        assert gradients(config, row.minibatches) > 0
        if config.task == "classification":
            assert build_model(config.model, config.dataset)
            texts |= {str(phase.method) for phase in read_phases(config)}
        elif "learner" in config:
            texts.add(config.method)
            assert (config.memory == 0) == (row.params["learner"] is None)
        else:
            texts.add(config.method)
    for text in texts:
        tx = method(text).build(read_optimizer(rows(name, scale)[0].config), 10)
        assert isinstance(tx, optax.GradientTransformation)


def test_updates_of_every_method_have_the_shapes_of_the_weights():
    images = [row for name in papers.ITEMS for row in rows(name, "laptop")]
    texts = {row.config.method for row in images if row.config.task == "classification"}
    config = rows("lookbehind.table1", "laptop")[0].config
    grads = {"norm": {"scale": np.ones(3, np.float32)}, "kernel": np.ones((2, 3), np.float32)}
    for text in texts:
        bound = method(text)
        tx, params = bound.build(read_optimizer(config), 10), bound.row.wrap_params(grads)

        def step(params, tx=tx):
            grad_fn = lambda params, i: params
            return tx.update(grads, tx.init(params), params, grad_fn=grad_fn)[0]

        updates = jax.eval_shape(step, params)
        assert jax.tree.map(np.shape, updates) == jax.tree.map(np.shape, params), text


def test_the_steps_of_the_papers_are_counted():
    (sgd, *_) = rows("lookbehind.table1", "paper")
    assert gradients(sgd.config, sgd.minibatches) == 200 * (EXAMPLES["CIFAR-10"] // 128)
    lifelong = rows("lookbehind.table2", "paper")
    sgd = [row for row in lifelong if row.params["method"] == "none" and not row.params["learner"]]
    assert [gradients(row.config, row.minibatches) for row in sgd] == [45_000, 90_000]


def test_items_share_runs(tmp_path):
    plans = [
        plan(name, papers.load(name), "laptop", tmp_path, 1, None)
        for name in ("lookbehind.table1", "lookbehind.table5")
    ]
    table_1, table_5 = ({run.path for run in each.runs} for each in plans)
    assert table_5 < table_1


def test_list_dry_run_and_commands_train_nothing(tmp_path, capsys):
    for flag in ("--list", "--dry-run", "--commands"):
        reproduce.main(["lookbehind.table5", flag, f"--runs={tmp_path}", f"--output={tmp_path}"])
    text = capsys.readouterr().out
    assert "0/6" in text
    assert "| together, shared runs once |      6 |         6 |      10,560 |" in text
    assert text.count("python -m experiments.train") == 6
    assert not list(tmp_path.glob("digits*"))


def test_missing_data_is_an_error_that_shows_how_to_prepare_it(tmp_path):
    where = [f"--runs={tmp_path}", f"--data_dir={tmp_path}"]
    with pytest.raises(SystemExit) as error:
        reproduce.main(["lookbehind.table5", "--scale=paper", *where])
    assert "cifar10" in str(error.value)
