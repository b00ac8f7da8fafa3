"""Two processes with two virtual devices each train as one process with four."""

import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests.support.checkpoint_folders import empty_arrays, newest

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


def by_flags(processes):
    """The flags that connect processes, for each of them, and nothing in their environments."""
    several = [f"--coordinator=127.0.0.1:{free_port()}", f"--process_count={processes}"]
    return [([*several, f"--process_id={i}"], {}) for i in range(processes)]


def by_slurm(processes):
    """The variables that Slurm sets in the environment of each task of a node."""
    port = {"JAX_COORDINATOR_PORT": str(free_port())}  # Slurm's is made from the job's number
    job = {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_NTASKS": str(processes)}
    ids = [{"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in range(processes)]
    return [(["--coordinator=auto"], job | port | own) for own in ids]


def run(workdir, *flags, root, connections=(([], {}),)):
    """Trains in a process for each connection; returns their output."""
    started = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.train_in_processes",
                str(4 // len(connections)),
                *FLAGS,
                f"--workdir={workdir}",
                *flags,
                *own_flags,
            ],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for own_flags, variables in connections
    ]
    output = [process.communicate(timeout=300) for process in started]
    for process, (_, errors) in zip(started, output, strict=True):
        assert process.returncode == 0, errors
    return output


def metrics(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [value for line in lines for value in json.loads(line).values()]


@pytest.mark.slow
def test_one_process_resumes_what_two_trained_with_sharded_weights(pytestconfig, tmp_path):
    root = pytestconfig.rootpath
    flags = ["--config.epochs=2", "--config.method=sam"]
    run(tmp_path / "one", *flags, root=root)
    sharded = [*flags, "--config.shard_weights=true"]
    run(tmp_path / "two", *sharded, root=root, connections=by_flags(2))
    expected = metrics(tmp_path / "one")
    np.testing.assert_allclose(metrics(tmp_path / "two"), expected, rtol=0, atol=1e-5)
    shutil.rmtree(newest(tmp_path / "two"))
    run(tmp_path / "two", *flags, root=root)
    np.testing.assert_allclose(metrics(tmp_path / "two"), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_as_one_and_resume(pytestconfig, tmp_path):
    root = pytestconfig.rootpath
    flags = ["--config.epochs=4", "--config.method=sam", "--config.switch=((2,'ae_sam'),)"]
    run(tmp_path / "one", *flags, root=root)
    expected = metrics(tmp_path / "one")
    output = run(tmp_path / "two", *flags, root=root, connections=by_flags(2))
    np.testing.assert_allclose(metrics(tmp_path / "two"), expected, rtol=0, atol=1e-5)
    assert "test accuracy" in output[0][0]  # only the first process writes
    assert "test accuracy" not in output[1][0]

    # Back to the checkpoint before the last, as if the processes had died; on with Slurm.
    empty_arrays(newest(tmp_path / "two"))
    run(tmp_path / "two", *flags, root=root, connections=by_slurm(2))
    np.testing.assert_allclose(metrics(tmp_path / "two"), expected, rtol=0, atol=1e-5)
