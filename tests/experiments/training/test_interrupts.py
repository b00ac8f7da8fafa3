"""Ctrl-C and SIGTERM: a checkpoint, one line, the exit code of the signal; a rerun resumes."""

import signal
import subprocess
import sys

import pytest

from experiments import analyze, cli
from experiments.training.interrupts import Interrupted, interruptions, postponed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU)


@pytest.fixture(autouse=True)
def _handlers():
    """Those of before, which a test may have changed."""
    before = {each: signal.getsignal(each) for each in SIGNALS}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def test_a_signal_ends_the_program_with_its_exit_code(monkeypatch, capsys):
    codes = []
    monkeypatch.setattr("os._exit", codes.append)
    for signum in SIGNALS:
        with interruptions():
            signal.raise_signal(signum)
    assert codes == [130, 143, 129, 128 + signal.SIGUSR1, 128 + signal.SIGXCPU]
    names = capsys.readouterr().err.splitlines()
    assert names == [f"stopped by SIG{name}" for name in ("INT", "TERM", "HUP", "USR1", "XCPU")]


def test_nohup_keeps_a_run_going_when_its_terminal_closes():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interruptions(), postponed():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_what_was_printed_before_is_flushed(monkeypatch):
    events = []
    monkeypatch.setattr(sys.stdout, "flush", lambda: events.append("flush"))
    monkeypatch.setattr("os._exit", lambda code: events.append("exit"))
    with interruptions():
        signal.raise_signal(signal.SIGTERM)
    assert events == ["flush", "exit"]


def test_a_postponed_signal_waits_and_a_second_one_does_not(monkeypatch, capfd):
    codes, reached = [], []
    monkeypatch.setattr("os._exit", codes.append)
    with interruptions(), postponed() as interrupted:
        assert interrupted() is None
        signal.raise_signal(signal.SIGTERM)
        reached.append(interrupted().signum)
        signal.raise_signal(signal.SIGINT)
        reached.append("not here")
    assert reached == [signal.SIGTERM]
    assert codes == [130]
    assert "a second signal stops at once" in capfd.readouterr().err


def test_outside_of_the_context_signals_are_handled_as_before():
    handler = signal.getsignal(signal.SIGTERM)
    with postponed():
        assert signal.getsignal(signal.SIGTERM) is not handler
    assert signal.getsignal(signal.SIGTERM) is handler


def interrupt(*args, **kwargs):
    raise Interrupted(signal.SIGTERM)


def test_an_interrupted_analysis_says_where_its_results_are(tmp_path, monkeypatch):
    monkeypatch.setattr(analyze, "open_run", interrupt)
    with pytest.raises(Interrupted) as stopped:
        analyze.main(["run", f"--output={tmp_path}"])
    (note,) = stopped.value.__notes__
    assert str(tmp_path / "measures") in note
    assert "resumes" in note


def test_an_interrupted_run_says_where_it_stopped(tmp_path):
    with pytest.raises(Interrupted) as stopped, cli.resumable(tmp_path, epochs=30):
        interrupt()
    (note,) = stopped.value.__notes__
    assert note.startswith(f"{tmp_path} has finished 0 of 30 epochs, and the same command resumes")


def start(workdir, cwd):
    flags = ["--config.epochs=100", "--config.train_examples=256", "--config.batch_size=64"]
    command = [sys.executable, "-m", "experiments.train", *flags, f"--workdir={workdir}"]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "moment", "code"), [("SIGINT", "compiling", 130), ("SIGTERM", "epoch 3/100", 143)]
)
def test_a_signal_ends_a_run_which_resumes(name, moment, code, pytestconfig, tmp_path):
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
    start_of_line = f"stopped by {name}; {workdir} has finished "
    assert last.startswith(start_of_line)
    assert "Traceback" not in err
    epochs = last.removeprefix(start_of_line).split()[0]

    again = start(workdir, pytestconfig.rootpath)
    assert again.stderr.readline().startswith(f"Resuming after {epochs} epoch")
    again.kill()
    again.communicate()
