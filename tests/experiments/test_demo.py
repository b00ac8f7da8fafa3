"""The demo's table from the runs of two seeds."""

import pytest

from experiments import demo
from experiments.results.table import Table


def trained(label, config, accuracies):
    values = {
        "test_accuracy": accuracies,
        "best_test_accuracy": [90.0, 70.0],
        "train_accuracy": [50.0, 50.0],
        "percent_sam": [50.0, 60.0],
    }
    rows = [
        {"metric": metric, "seed": seed, "value": value}
        for metric, pair in values.items()
        for seed, value in enumerate(pair)
    ]
    return demo.Trained(label, config, Table(rows), 1.5)


def test_a_row_has_mean_deviation_and_paired_difference(config):
    config.method, config.learning_rate = "sam:rho=0.1", 0.02
    baseline = trained("SGD", config, [40.0, 50.0])
    row = demo.table_row(trained("SAM", config, [50.0, 70.0]), baseline)
    assert list(row.values()) == [
        "SAM",
        "rate 0.02, rho = 0.1",
        "60.00 ± 14.14",
        "+15.00 [-48.53, +78.53]",  # 15 ± 12.706 * 5, Student's t with one degree of freedom
        "80.00 ± 14.14",
        "50",
        "55.0 ± 7.1",
        "1.50",
    ]
    assert demo.table_row(baseline, baseline)["difference to SGD"] == ""


def test_every_method_has_its_chosen_setting_and_sgd_is_also_run_at_the_rate_of_sam():
    rows = demo.rows()
    assert list(rows)[:3] == [demo.CONTROL, demo.BASELINE, "SAM"]
    assert rows["SAM"] == {"method": "sam:rho=0.4", "learning_rate": 0.04}
    assert rows[demo.CONTROL] == {"method": "none", "learning_rate": 0.04}


@pytest.mark.slow
def test_the_demo_writes_table_and_figure(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "SEEDS", 2)
    config.update(epochs=2, train_examples=256)
    demo.compare(config, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "results.json", "results.md", "curves.png", "curves.svg"
    }  # fmt: skip
    assert "| AE-Lookbehind-SAM" in (tmp_path / "results.md").read_text()
