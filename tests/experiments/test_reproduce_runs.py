"""Runs of campaigns: folders, locks, resuming after a kill, several processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from experiments import reproduce
from experiments.campaign.commands import COMMANDS
from experiments.campaign.runs import folder_name, run_of
from experiments.recipes import beds
from experiments.recipes.recipe import Cell
from experiments.storage.lock import try_lock
from tests.support import small_campaign

ROOT = Path(__file__).parents[2]
TRAIN = COMMANDS["train"]


def run(method, seed=0, **changes):
    cell = beds.cell(beds.laptop(), "row", method, **changes)
    return run_of(cell, seed, TRAIN, Path("runs"), None)


def test_equal_methods_written_differently_share_a_folder():
    assert run("sam:rho=0.05").path == run("sam").path
    assert run("sgd").path == run("none").path


@pytest.mark.parametrize("changes", [{"epochs": 3}, {"label_noise": 0.1}, {"keep_every": 1}])
def test_another_config_has_another_folder(changes):
    assert run("sam").path != run("sam", **changes).path
    assert run("sam", seed=1).path != run("sam").path


def test_where_data_and_workers_are_does_not_change_the_folder():
    other = run("sam", data_dir="elsewhere", workers=1, eval_batch_size=7)
    assert other.path == run("sam").path


def test_a_new_key_with_a_default_does_not_change_the_folder():
    config = run("sam").config
    name = folder_name(config, TRAIN)
    with config.unlocked():
        config.new_key = 1
    defaults = TRAIN.defaults()
    with defaults.unlocked():
        defaults.new_key = 1
    assert folder_name(config, TRAIN._replace(defaults=lambda: defaults)) == name


def test_a_claimed_folder_cannot_be_claimed_again(tmp_path):
    with try_lock(tmp_path) as first, try_lock(tmp_path) as second:
        assert (first, second) == (True, False)
    with try_lock(tmp_path) as again:
        assert again


def test_the_lock_of_a_killed_process_is_released(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from experiments.storage.lock import try_lock\n"
        "with try_lock(Path(sys.argv[1])): print('claimed', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"claimed\n"
    with try_lock(tmp_path) as mine:
        assert not mine
    process.kill()
    process.wait()
    with try_lock(tmp_path) as mine:
        assert mine


def test_unknown_names_list_the_valid_ones_and_the_nearest(capsys):
    with pytest.raises(SystemExit) as error:
        reproduce.main(["lookbehind.tabel1"])
    assert "'lookbehind.tabel1'" in str(error.value)
    assert "did you mean 'lookbehind.table1'" in str(error.value)
    assert "aesam.figure15" in str(error.value)


def test_missing_data_is_an_error_that_shows_how_to_prepare_it(tmp_path):
    with pytest.raises(SystemExit) as error:
        reproduce.main(
            ["lookbehind.table5", "--scale=paper", f"--runs={tmp_path}", f"--data_dir={tmp_path}"]
        )
    assert "cifar10" in str(error.value)


def test_list_dry_run_and_commands_train_nothing(tmp_path, capsys):
    for flag in ("--list", "--dry-run", "--commands"):
        reproduce.main(["lookbehind.table5", flag, f"--runs={tmp_path}", f"--output={tmp_path}"])
    text = capsys.readouterr().out
    assert "0/6" in text
    assert text.count("python -m experiments.train") == 6
    assert not list(tmp_path.glob("digits*"))


def test_cells_keep_their_coordinates():
    cell = beds.cell(beds.laptop(), "row", "sam:rho={rho}", series="line", x=2.0)
    assert isinstance(cell, Cell)
    assert (cell.series, cell.x, cell.y, cell.config.method) == ("line", 2.0, None, "sam:rho=0.2")


def start(runs, output):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.small_campaign", str(runs), str(output)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def result(output):
    found = json.loads((output / "small.table.json").read_text())
    return found | {"date": ""}


@pytest.mark.slow
def test_killed_and_started_again_or_shared_by_two_processes_the_table_is_the_same(tmp_path):
    small_campaign.main(tmp_path / "runs", tmp_path / "whole")
    expected = result(tmp_path / "whole")

    # Two processes, and a third that is killed while it does one of the runs.
    shared, output = tmp_path / "shared", tmp_path / "output"
    killed = start(shared, output)
    while killed.poll() is None and not list(shared.glob("*/metrics.jsonl")):
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    begun = Counter((shared / small_campaign.STARTED).read_text().split())
    processes = [start(shared, output) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert result(output) == expected
    runs = Counter((shared / small_campaign.STARTED).read_text().split()) - begun
    assert set(runs.values()) == {1}
    assert len(set(runs) | set(begun)) == len(small_campaign.METHODS) * small_campaign.SEEDS
