"""Two processes, one of which gets a signal: both end with one line, within a minute."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import pytest

from experiments.parallel.lost_processes import ended
from experiments.parallel.native_errors import GONE, filtered, reason
from experiments.storage.lock import only_writer

FLAGS = [
    "--config=digits",
    "--config.model=dense",
    "--config.train_examples=512",
    "--config.epochs=1000",
    "--config.method=sam",
    "--heartbeat_timeout=6",  # seconds
]
SECONDS = 60  # the longest that the other process may take

# What JAX 0.10 writes, without its stacks of C++ and Python.
TERMINATING = (
    "F1121 19:05:50.314564   22809 client.h:80] Terminating process because the JAX distributed "
    "service detected fatal errors. This most likely indicates that another task died; see the "
    "other task logs for more details. Disable Python buffering, i.e. `python -u`, to be sure to "
    "see all the previous output. absl::Status: "
)
POLLED = (
    "E1121 19:05:50.314528   22809 coordination_service_agent.cc:289] Polled an error from "
    "coordination service (this can be an error from this or another task).\n"
)
UNHEALTHY = (
    "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n{}\nThe tasks "
    "have crashed. Check the task logs for an earlier error.\n\n"
    "RPC: /xla.coordination.CoordinationService/PollForError\n"
)
SOCKET = (
    "UNAVAILABLE: Socket closed\nAdditional GRPC error information from remote target "
    "coordination_service while calling /xla.coordination.CoordinationService/PollForError:\n"
)
DEADLINE = (
    "DEADLINE_EXCEEDED: Deadline Exceeded\n\n"
    "RPC: /xla.coordination.CoordinationService/RegisterTask\n"
)
TWICE = (
    "ABORTED: 1 unexpectedly tried to connect with a different incarnation. It has likely "
    "restarted.\n\nRPC: /xla.coordination.CoordinationService/PollForError\n"
)
STACK = "*** Check failure stack trace: ***\n    @ 0x7f5c290d0634  absl::SendToLog()\nAborted\n"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (UNHEALTHY.format("1"), f"process 1 is {GONE}"),
        (UNHEALTHY.format("1\n12"), f"processes 1, 12 are {GONE}"),
        (SOCKET, f"process 0 is {GONE}"),
        (DEADLINE, "the processes have not found each other in 7 s: --coordinator must be"),
        (TWICE, "process 1 has connected twice: --process_id must be"),
        ("INTERNAL: of another version\n", "(INTERNAL: of another version *** Check"),
    ],
)
def test_pages_of_jax_become_one_line(status, words):
    lines = f"a line of a library\n{POLLED}{TERMINATING}{status}{STACK}".splitlines(keepends=True)
    first, line = filtered(lines, 7)
    assert first == "a line of a library\n"
    assert line.startswith("error: ")
    assert words in line
    assert line.count("\n") == 1
    assert reason(status, 7) in line or "INTERNAL" in status


def test_other_lines_pass():
    assert list(filtered(["W1121 something.cc:1] else\n"], 7)) == ["W1121 something.cc:1] else\n"]
    assert list(filtered([POLLED, "and on\n"], 7)) == [POLLED, "and on\n"]  # nothing ended


def test_the_line_of_the_program_is_the_only_one():
    mine = f"error: process 1 is {GONE}\n"
    for page in ([mine, POLLED, TERMINATING, STACK], [POLLED, mine, TERMINATING, STACK]):
        assert list(filtered(page, 7)) == [mine]


@pytest.mark.parametrize(
    "error",
    [
        jax.errors.JaxRuntimeError("INTERNAL: something"),
        OSError("16 cannot be written: UNKNOWN: Gloo AllGather failed: Connection reset by peer"),
        ValueError("NCCL operation failed"),
    ],
)
def test_errors_of_collectives_mean_a_lost_process(error, monkeypatch, capfd):
    def end(code):
        raise SystemExit(code)

    monkeypatch.setattr("jax.process_count", lambda: 2)
    monkeypatch.setattr("os._exit", end)
    with pytest.raises(SystemExit, match="1"), ended():
        raise error
    assert capfd.readouterr().err == f"error: process 1 is {GONE}\n"


@pytest.mark.parametrize(
    "error",
    [OSError("the disk is full"), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")],
)
def test_other_errors_pass(error, monkeypatch):
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(type(error), match=str(error)), ended():
        raise error


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A process of a run, with the lines that it writes."""

    def __init__(self, root, workdir, coordinator, process_id, *flags):
        own = [f"--coordinator={coordinator}", "--process_count=2", f"--process_id={process_id}"]
        command = [sys.executable, "-m", "tests.support.train_in_processes", "1", *FLAGS]
        self.process = subprocess.Popen(
            [*command, f"--workdir={workdir}", *own, *flags],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, text):
        deadline = time.monotonic() + 120
        while not any(text in line for line in self.lines):
            assert time.monotonic() < deadline, self.lines
            assert self.process.poll() is None, self.lines
            time.sleep(0.01)

    def end(self, seconds=SECONDS):
        """The exit code and the lines, but for those of the epochs and Gloo's when it connects."""
        code = self.process.wait(seconds)
        self.reader.join(10)
        return code, [line for line in self.lines if not line.startswith(("SAM", "[Gloo] Rank"))]


@pytest.fixture
def pair(pytestconfig, tmp_path):
    """Starts two processes of a run; kills what is left of them."""
    started = []

    def start(*flags):
        coordinator = f"127.0.0.1:{free_port()}"
        both = [
            Process(pytestconfig.rootpath, tmp_path / "run", coordinator, number, *flags)
            for number in range(2)
        ]
        started.extend(both)
        return both

    yield start
    for each in started:
        each.process.kill()


# A line of process 0, and seconds after it. That of an epoch comes before its checkpoint.
MOMENTS = {
    "before the first step": ("SAM: compiling", 0),
    "between epochs": ("SAM, epoch 2/", 0),
    "in an epoch": ("SAM, epoch 9/", 0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -9)])
def test_a_signal_to_one_process_ends_both(name, code, number, moment, pair, tmp_path):
    processes = pair()
    line, seconds = MOMENTS[moment]
    processes[0].wait_for(line)
    time.sleep(seconds)
    processes[number].process.send_signal(getattr(signal, name))
    found, lines = processes[number].end(10)
    assert found == code
    if name == "SIGKILL":
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith(f"stopped by {name}; {tmp_path / 'run'} has finished ")
        assert line.endswith("and the same command resumes there")
    found, lines = processes[1 - number].end()
    assert found != 0
    assert lines == [f"error: process {number} is {GONE}"]


@pytest.mark.slow
def test_the_same_commands_resume(pair):
    processes = pair()
    processes[0].wait_for("SAM, epoch 3/")
    processes[1].process.kill()
    processes[0].end()
    again = pair()
    again[0].wait_for("Resuming after epoch ")
    again[0].wait_for("SAM, epoch ")
    for each in again:
        each.process.send_signal(signal.SIGTERM)
    codes = {each.end()[0] for each in again}
    assert 143 in codes


@pytest.mark.slow
def test_an_error_of_one_process_ends_both(pair, tmp_path):
    with only_writer(tmp_path / "run"):
        processes = pair()
        code, lines = processes[0].end(100)
        assert code == 1
        (line,) = lines
        assert line.startswith("error: another process is writing to ")
    code, lines = processes[1].end()
    assert code != 0
    assert lines == [f"error: process 0 is {GONE}"]


@pytest.mark.slow
def test_wrong_addresses_and_ids_end_with_one_line(pytestconfig, tmp_path):
    """Nobody listens; no second process; the coordinator twice; the other process twice."""
    taken, short = free_port(), "--connect_timeout=15"
    cases = {
        "nobody listens": [(free_port(), 1)],
        "no other process": [(free_port(), 0)],
        "coordinator twice": [(taken, 0), (taken, 0)],
    }
    ids_twice = free_port()
    cases["id twice"] = [(ids_twice, 0), (ids_twice, 1), (ids_twice, 1)]
    started = {
        case: [
            Process(pytestconfig.rootpath, tmp_path / case, f"127.0.0.1:{port}", number, short)
            for port, number in processes
        ]
        for case, processes in cases.items()
    }
    for case, processes in started.items():
        for each in processes:
            code, lines = each.end(100)
            assert code != 0, case
            assert len(lines) == 1, (case, lines)
            assert "--process_id must be another one in each process" in lines[0] or (
                "--process_id another one in each process" in lines[0]
            ), (case, lines)
