"""Ctrl-C and SIGTERM: one line, the exit code of the signal, and the same command resumes."""

import signal
import subprocess
import sys

import pytest

FLAGS = ["--config.epochs=100", "--config.train_examples=256", "--config.batch_size=64"]


def start(workdir, cwd):
    command = [sys.executable, "-m", "experiments.train", *FLAGS, f"--workdir={workdir}"]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_a_run_with_one_line(name, code, pytestconfig, tmp_path):
    workdir = tmp_path / "run"
    process = start(workdir, pytestconfig.rootpath)
    for line in process.stderr:
        if "epoch 3/100" in line:
            break
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith(f"stopped by {name}; {workdir} has finished ")
    assert "Traceback" not in err
    done = int(last.split("has finished ")[1].split()[0])

    again = start(workdir, pytestconfig.rootpath)
    assert again.stderr.readline() == f"Resuming after epoch {done}.\n"
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
