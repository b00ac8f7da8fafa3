"""``python -m experiments.train`` and the demo, end to end."""

import json
import subprocess
import sys

import pytest

from experiments import demo
from experiments.configs.base import with_changes
from experiments.recipes.search import search
from experiments.training.setup import make_run


def run_train(*arguments, cwd):
    command = [sys.executable, "-m", "experiments.train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_a_run_writes_config_and_metrics(pytestconfig, tmp_path):
    workdir = tmp_path / "new" / "run"
    done = run_train(
        "--config=experiments/configs/digits.py",
        "--config.method=lookbehind_sam:k=5,alpha=0.5",
        "--config.epochs=1",
        f"--workdir={workdir}",
        cwd=pytestconfig.rootpath,
    )
    assert done.returncode == 0, done.stderr
    saved = json.loads((workdir / "config.json").read_text())
    assert saved["method"] == "lookbehind_sam:k=5,alpha=0.5"
    (line,) = (workdir / "metrics.jsonl").read_text().splitlines()
    names = {"epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"}
    assert json.loads(line).keys() == names | {"train_alpha"}
    assert "Lookbehind-SAM: test accuracy" in done.stdout
    assert str(workdir) in done.stdout
    first, second = done.stderr.splitlines()  # and nothing from the libraries
    assert first == "Lookbehind-SAM: compiling"
    assert second.startswith("Lookbehind-SAM, epoch 1/1, training loss ")
    assert {path.name for path in workdir.iterdir()} == {
        ".lock",
        "checkpoints",
        "config.json",
        "events",
        "metrics.jsonl",
        "timing.jsonl",
        "versions.json",
    }


def test_a_bad_command_line_ends_with_one_line(pytestconfig):
    done = run_train("--config.method=adam", cwd=pytestconfig.rootpath)
    assert done.returncode == 1
    assert done.stderr.startswith("error: unknown method 'adam' (did you mean 'asam'?)")
    assert len(done.stderr.splitlines()) == 1


def test_help_says_what_the_flags_are(pytestconfig):
    done = run_train("--help", cwd=pytestconfig.rootpath)
    assert "--config.method=lookbehind_sam" in done.stdout
    assert "--workdir: Folder for the results" in done.stdout
    assert "--coordinator: Several hosts" in done.stdout
    assert str(pytestconfig.rootpath) not in done.stdout
    assert "``" not in done.stdout


@pytest.mark.parametrize("name", ["cifar.py:lookbehind", "cifar.py:aesam", "vit_finetune.py"])
def test_missing_dataset_error_shows_the_tfds_command(pytestconfig, tmp_path, name):
    done = run_train(
        f"--config=experiments/configs/{name}",
        f"--config.data_dir={tmp_path}",
        cwd=pytestconfig.rootpath,
    )
    assert done.returncode == 1
    assert "tfds build" in done.stderr
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(pytestconfig):
    flags = ["--config.epochs=5", "--config.method=ae_sam", "--config.batch_size=256"]
    flags += ["--config.save_every_steps=2"]
    command = [sys.executable, "-m", "tests.support.kill_and_resume", "2", *flags]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=pytestconfig.rootpath
    )
    assert done.returncode == 0, done.stderr
    assert "and metrics.jsonl are the same to the bit" in done.stdout


def test_the_demo_ends_with_a_table_and_a_figure(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "SEEDS", 2)
    rows = {name: demo.ROWS[name] for name in ("SGD", "AE-Lookbehind-SAM")}
    monkeypatch.setattr(demo, "ROWS", rows)
    config.epochs = 1
    demo.compare_methods(config, tmp_path)
    out = capsys.readouterr().out
    table = (tmp_path / "results.md").read_text()
    assert table in out
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[0] for row in cells] == [*demo.CONTROL, *rows]
    assert [row[1] for row in cells[1:]] == [
        "rate 0.005, weight decay 0.02",
        "rate 0.01, k = 2, rho = 0.8, alpha = adaptive",
    ]
    assert [row[3] == "" for row in cells] == [False, True, False]  # differences to SGD
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results[0]["curves"]["test_accuracy"]) == len(results[0]["applied"]) == 2
    figure = tmp_path / "curves.png"
    assert str(figure) in out
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_every_setting_of_the_demo_can_be_built(config):
    for row in demo.ROWS.values():
        assert row.chosen in row.settings()
        make_run(with_changes(config, row.changes(row.chosen)))


def test_the_search_tries_all_settings_once_and_the_best_on_more_seeds():
    calls = []

    def score(setting, seed):
        calls.append((setting["x"], seed))
        return -abs(setting["x"] - 6.4) + seed

    found = search([{"x": x} for x in range(16)], score)
    assert [trial.setting["x"] for trial in found] == [6, 7, 5, 8]
    assert found[0].mean == pytest.approx(-0.4 + 1)
    assert sorted(calls) == sorted(
        [(x, 0) for x in range(16)] + [(x, s) for x in (5, 6, 7, 8) for s in (1, 2)]
    )
