"""Flags that do not connect processes, and their errors."""

import subprocess
import sys

import pytest

CONNECT = (
    "from absl import app; from experiments.parallel import multihost; "
    "app.run(lambda _: multihost.connect())"
)
INCOMPLETE = "ValueError: several processes need --coordinator=auto alone, or all of"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--coordinator=auto", "--process_count=2"], INCOMPLETE),
        (["--coordinator=here:1", "--process_id=0"], INCOMPLETE),
        (["--coordinator=auto"], "ValueError: coordinator_address should be defined"),
    ],
)
def test_flags_that_do_not_connect_raise(pytestconfig, flags, message):
    # An empty environment: tests may run in a cluster themselves.
    command = [sys.executable, "-c", CONNECT, *flags]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=pytestconfig.rootpath, env={}, check=False
    )
    assert done.returncode == 1
    assert message in done.stderr
