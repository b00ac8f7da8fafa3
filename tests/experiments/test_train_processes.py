"""Two processes with two virtual devices each train as one process with four."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = pathlib.Path(__file__).parent / "train_in_processes.py"
FLAGS = [
    "--config=experiments/configs/digits.py",
    "--config.model=dense",
    "--config.train_examples=512",
    "--config.augment=true",
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(processes, workdir, *flags, root, expect=0):
    """Trains in so many processes; returns what they said."""
    several = [f"--coordinator=127.0.0.1:{free_port()}", f"--process_count={processes}"]
    started = [
        subprocess.Popen(
            [
                sys.executable,
                SCRIPT,
                str(4 // processes),
                *FLAGS,
                f"--workdir={workdir}",
                *flags,
                *([*several, f"--process_id={i}"] if processes > 1 else []),
            ],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(processes)
    ]
    said = [process.communicate(timeout=300) for process in started]
    for process, (_, errors) in zip(started, said, strict=True):
        assert process.returncode == expect, errors
    return said


def metrics(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [list(json.loads(line).values()) for line in lines]


@pytest.mark.slow
def test_two_processes_train_as_one_and_resume(pytestconfig, tmp_path):
    root = pytestconfig.rootpath
    flags = ["--config.epochs=4", "--config.method=sam", "--config.switch=((2,'ae_sam'),)"]
    run(1, tmp_path / "one", *flags, root=root)
    expected = metrics(tmp_path / "one")
    said = run(2, tmp_path / "two", *flags, root=root)
    np.testing.assert_allclose(metrics(tmp_path / "two"), expected, rtol=0, atol=1e-5)
    assert "test accuracy" in said[0][0]  # only the first process writes
    assert "test accuracy" not in said[1][0]

    # Back to the checkpoint before the last, as if the processes had died.
    for path in (tmp_path / "two" / "checkpoints" / "4" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    run(2, tmp_path / "two", *flags, root=root)
    np.testing.assert_allclose(metrics(tmp_path / "two"), expected, rtol=0, atol=1e-5)
