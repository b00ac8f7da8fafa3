"""Execution of runs: divergence, resuming after a kill, several processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from experiments.results.runner import execute
from experiments.results.runs import run_of
from tests.support import small_item

ROOT = Path(__file__).parents[3]


def test_a_run_whose_loss_is_not_finite_is_marked_and_not_repeated(config, tmp_path, monkeypatch):
    config.update(learning_rate=1e30, epochs=1, train_examples=256)
    run = run_of(config, 0, tmp_path)
    execute([run])
    assert run.diverged
    assert run.is_done
    assert "the loss is" in json.loads((run.path / "diverged.json").read_text())["message"]
    monkeypatch.setattr("experiments.train.run", None)
    execute([run])


def test_other_errors_are_raised(config, tmp_path):
    config.update(train_examples=10**6)
    with pytest.raises(ValueError, match="train_examples must be in"):
        execute([run_of(config, 0, tmp_path)])


def start(runs, output):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.small_item", str(runs), str(output)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def result(output):
    found = json.loads((output / "laptop" / "small.table.json").read_text())
    return found | {"date": ""}


@pytest.mark.slow
def test_killed_and_started_again_or_shared_by_two_processes_the_table_is_the_same(tmp_path):
    whole = start(tmp_path / "runs", tmp_path / "whole")
    assert whole.wait() == 0
    expected = result(tmp_path / "whole")
    assert len(expected["rows"]) == len(small_item.METHODS)

    # A process that is killed while it does one of the runs, and then two.
    shared, output = tmp_path / "shared", tmp_path / "output"
    killed = start(shared, output)
    while killed.poll() is None and not list(shared.glob("*/metrics.jsonl")):
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    begun = Counter((shared / small_item.STARTED).read_text().split())
    processes = [start(shared, output) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert result(output) == expected
    runs = Counter((shared / small_item.STARTED).read_text().split()) - begun
    assert set(runs.values()) == {1}
    assert len(set(runs) | set(begun)) == len(small_item.METHODS) * small_item.SEEDS
