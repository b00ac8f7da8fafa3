"""Flags that do not connect processes, and their errors."""

import re
import subprocess
import sys

import pytest

CONNECT = (
    "from absl import app; from experiments.parallel import multihost; "
    "app.run(lambda _: multihost.connect())"
)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--coordinator=auto", "--process_count=2"],
            "--coordinator=auto takes process count and id from the cluster: omit "
            "--process_count and --process_id.",
        ),
        (
            ["--coordinator=auto"],
            r"--coordinator=auto finds no cluster \(.+\). Outside of one, name process 0: "
            "--coordinator=host:port --process_count=N --process_id=I.",
        ),
        (
            ["--coordinator=here:1", "--process_id=0"],
            "--coordinator=host:port needs --process_count and --process_id.",
        ),
    ],
)
def test_flags_that_do_not_connect_raise_with_those_that_do(pytestconfig, flags, message):
    # An empty environment: tests may run in a cluster themselves.
    command = [sys.executable, "-c", CONNECT, *flags]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=pytestconfig.rootpath, env={}, check=False
    )
    assert done.returncode == 1
    assert re.search(f"ValueError: {message}\n", done.stderr), done.stderr
