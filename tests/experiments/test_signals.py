"""Ctrl-C and SIGTERM: one line, the exit code of the signal, and the same command resumes."""

import signal
import subprocess
import sys

import pytest

from experiments import analyze, cli, train
from experiments.configs.continual import get_config as continual_config
from experiments.continual import __main__ as continual

FLAGS = ["--config.epochs=100", "--config.train_examples=256", "--config.batch_size=64"]


def start(workdir, cwd):
    command = [sys.executable, "-m", "experiments.train", *FLAGS, f"--workdir={workdir}"]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["compiling", "epoch 1/100", "epoch 3/100"])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_a_run_with_one_line(name, code, moment, pytestconfig, tmp_path):
    workdir = tmp_path / "run"
    process = start(workdir, pytestconfig.rootpath)
    for line in process.stderr:
        if moment in line:
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
    first = again.stderr.readline()
    assert first.startswith(f"Resuming after {done} epoch" if done else "SGD: compiling")
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_libraries_are_imported_ends_without_a_word(name, pytestconfig, tmp_path):
    process = start(tmp_path / "run", pytestconfig.rootpath)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert process.returncode == -getattr(signal, name)  # 130 or 143 in a shell
    assert out == err == ""


def interrupt(*args, **kwargs):
    raise cli.Interrupted(signal.SIGTERM)


@pytest.mark.parametrize("command", [train, continual])
def test_an_interrupted_run_says_where_it_stopped(command, config, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "make_run", interrupt)
    given = config if command is train else continual_config()
    with pytest.raises(cli.Interrupted) as stopped:
        command.main(given, tmp_path)
    (note,) = stopped.value.__notes__
    assert note.startswith(f"{tmp_path} has finished 0 of {given.epochs} epochs")
    assert "resumes" in note


def test_an_interrupted_analysis_says_where_its_results_are(tmp_path, monkeypatch):
    monkeypatch.setattr(analyze, "open_run", interrupt)
    with pytest.raises(cli.Interrupted) as stopped:
        analyze.main(["run", f"--output={tmp_path}"])
    (note,) = stopped.value.__notes__
    assert str(tmp_path / "measures") in note
    assert "resumes" in note


def test_what_was_printed_before_a_signal_is_kept(monkeypatch, capsys):
    flushed, codes = [], []
    monkeypatch.setattr(sys.stdout, "flush", lambda: flushed.append(list(codes)))
    monkeypatch.setattr("os._exit", codes.append)
    with cli.interruptions():
        interrupt()
    assert codes == [143]
    assert flushed == [[]]  # before the exit
    assert capsys.readouterr().err == "stopped by SIGTERM\n"
