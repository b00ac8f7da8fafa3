"""The comparison on ETTh1 and ETTh2: equal budgets, choice on validation data, and its numbers."""

import json

import numpy as np
import pytest

from experiments import papers
from experiments.configs import forecasting
from experiments.data.series.synthetic import synthetic_series
from experiments.papers.forecasting import items, search, settings
from experiments.results.metrics import FinishedRun
from experiments.results.search import Choice, Trial, write
from experiments.results.table import Table


@pytest.fixture
def chosen(monkeypatch, tmp_path):
    """Made-up choices: the first setting of each row."""
    monkeypatch.setattr(settings, "chosen_file", lambda *names: tmp_path / f"{names}.json")
    for series in settings.SERIES:
        choices = [
            Choice(row.method, dict(row.fixed), row.candidates("laptop").settings[0])
            for row in settings.searched("laptop")
        ]
        write(settings.chosen_file("laptop", series, 96), choices)


@pytest.mark.parametrize(("scale", "number"), [("laptop", 8), ("paper", 16)])
def test_every_row_has_as_many_settings_as_the_others(scale, number):
    rows = settings.searched(scale)
    assert {len(row.candidates(scale).settings) for row in rows} == {number}
    assert len({row.name for row in rows}) == len(rows)


@pytest.mark.usefixtures("chosen")
def test_the_table_has_the_chosen_settings_of_every_row():
    rows = papers.load("forecasting.table").rows("laptop")
    by_place = {(row.params["setting"], row.params["row"]): row for row in rows}
    assert len(by_place) == len(rows) == 2 * (10 + 5)
    sam = by_place["ETTh2, horizon 336", "SAM"].config
    assert (sam.method, sam.learning_rate, sam.dropout) == ("sam:rho=0.1", 2e-4, 0.0)
    both = by_place["ETTh2, horizon 96", "SAM, regularized"].config
    control = by_place["ETTh2, horizon 96", "Adam, tuned"].config
    assert both.method == sam.method
    assert both.dropout == control.dropout == 0.5
    assert by_place["ETTh1, horizon 96", "linear map"].config.model == "linear"
    assert {row.config.epochs * row.minibatches for row in rows} == {40 * 251, 40 * 243}


def test_without_choices_there_is_no_table_and_the_reason_is_said():
    for scale in ("laptop", "paper"):
        if not settings.is_chosen(scale):
            item = papers.load("forecasting.table")
            assert item.rows(scale) == []
            assert f"papers.search forecasting.{scale} --data_dir=DIR" in item.limits[scale]


def test_settings_are_chosen_by_the_validation_error_alone(monkeypatch, tmp_path):
    series = synthetic_series(hours=120, channels=2)
    dates = np.datetime64("2020-01-01T00") + np.arange(120)
    lines = [f"{date},{a},{b}" for date, (a, b) in zip(dates, series.values, strict=True)]
    (tmp_path / "small.csv").write_text("\n".join(["date,a,b", *lines]))

    def tiny(series, horizon):
        config = forecasting.get_config()
        config.update(
            dataset=series, split=(60, 30, 30), lookback=8, horizon=horizon, width=3,
            epochs=1, batch_size=16, optimizer="adamw",
        )  # fmt: skip
        return config

    rows = [
        settings.Searched(
            settings.CONTROL, "none", {"dropout": (0.9, 0.0), "weight_decay": (3.0,)}
        ),
        settings.Searched(settings.REGULARIZED, "sam", {"rho": (0.1, 1.0)}),
    ]
    monkeypatch.setattr(settings, "_RATES", {"laptop": (1e-2,)})
    monkeypatch.setattr(search, "searched", lambda scale: rows)
    monkeypatch.setattr(search, "base_config", tiny)
    monkeypatch.setattr("experiments.results.search.SEEDS", (7,))
    control, regularized = search.search_series(
        "laptop", "small", 4, str(tmp_path), tmp_path / "runs"
    ).values()

    errors = {}
    for path in (tmp_path / "runs").glob("small*"):
        config = json.loads((path / "config.json").read_text())
        record = json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])
        assert "test_mse" not in record
        errors[config["method"], config["dropout"]] = record["val_mse"]
        assert config["weight_decay"] == 3.0
    assert len(errors) == 4
    tried = {dropout: error for (method, dropout), error in errors.items() if method == "none"}
    assert control.setting["dropout"] == min(tried, key=tried.get)
    assert control.trials[0] == Trial(control.setting, {7: -min(tried.values())})
    with_sam = {dropout for method, dropout in errors if method != "none"}
    assert with_sam == {control.setting["dropout"]}  # the control's, not its own
    assert regularized.method == "sam"


def test_the_cost_is_counted_to_the_best_epoch():
    config = forecasting.get_config()
    config.method = "ae_sam"
    history = [{"train_applied": x, "val_mse": 1.0, "seconds": 2.0} for x in (0.5, 0.25, 1.0)]
    history[-1]["best_epoch"] = 2
    values = {
        metric.name: metric.of(FinishedRun(config, history, {}, {}))
        for metric in items.ITEMS["table"].metrics
        if metric.name in ("gradients", "seconds", "best_epoch")
    }
    assert values == {"gradients": 251 * 2.75 / 1000, "seconds": 4.0, "best_epoch": 2}


def test_differences_to_the_linear_map_are_paired_by_seed_and_series():
    rows = [
        {"setting": setting, "row": row, "seed": seed, "metric": "test_mse", "value": value}
        for setting, row, seed, value in [
            ("a", "linear map", 0, 1.0),
            ("a", "linear map", 1, 2.0),
            ("b", "linear map", 0, 9.0),
            ("a", "SAM", 0, 1.5),
            ("a", "SAM", 1, 1.0),
        ]
    ]
    derived = items.ITEMS["table"].derive(Table(rows))
    assert [(x["row"], x["seed"], x["value"]) for x in derived] == [("SAM", 0, 0.5), ("SAM", 1, -1)]
