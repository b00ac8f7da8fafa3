"""Two processes, two virtual devices each, against one process with four."""

import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]


def run(processes, method):
    """The final weights as each process printed them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    started = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.two_processes",
                str(i),
                str(processes),
                port,
                method,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(processes)
    ]
    results = []
    for process in started:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        (line,) = [line for line in out.splitlines() if line.startswith("weights ")]
        results.append(np.array(line.split()[1:], float))
    return results


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lookbehind_sam_adaptive", "ae_sam"])
def test_two_processes_equal_one(method):
    (expected,) = run(1, method)
    for weights in run(2, method):
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-12)
