"""The demo's table from the runs of two seeds."""

import json

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


def test_the_demo_ends_with_a_table_and_a_figure(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "SEEDS", 2)
    kept = {label: demo.rows()[label] for label in (demo.CONTROL, "SGD", "AE-Lookbehind-SAM")}
    monkeypatch.setattr(demo, "rows", lambda: kept)
    config.epochs = 1
    demo.compare(config, tmp_path)
    out = capsys.readouterr().out
    table = (tmp_path / "results.md").read_text()
    assert table in out
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[0] for row in cells] == list(kept)
    assert [row[1] for row in cells[1:]] == [
        "rate 0.005, weight decay 0.02",
        "rate 0.01, k = 2, rho = 0.8, alpha = adaptive",
    ]
    assert [row[3] == "" for row in cells] == [False, True, False]  # differences to SGD
    results = json.loads((tmp_path / "results.json").read_text())
    assert results[0]["table"]["test_accuracy_curve"]["seed"] == [0, 1]
    assert str(tmp_path / "curves.png") in out
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
