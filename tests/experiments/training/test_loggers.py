"""The logs of a run: event files, lines, the progress bar."""

import struct
import sys
import time

from tensorboardX.proto.event_pb2 import Event

from experiments.training import run_dir
from experiments.training.loggers import RunLogger


def metrics(epoch):
    names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    return {"epoch": epoch} | dict.fromkeys(names, 1 / epoch)


def log(path, config, epochs, history=()):
    path.mkdir(exist_ok=True)
    sizes = {"epochs": config.epochs, "steps": lambda n: 3 * n, "examples_per_step": 128}
    with RunLogger(path, list(history), **sizes, score="accuracy") as writer:
        for epoch in range(len(history) + 1, epochs + 1):
            writer.start_epoch(epoch, "SAM", compiles=epoch == len(history) + 1)
            writer.log_first_step()
            writer.end_steps()
            writer.end_epoch(metrics(epoch))
    return path


def events(path):
    """The scalars in a folder of event files, as TensorBoard shows them."""
    seen = {}
    for file in sorted((path / "events").iterdir()):
        content, at = file.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)  # and checksums before and after
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += length + 16
            if (
                event.session_log.status == 1
            ):  # a restart: what was logged from this step on is void
                seen = {key: value for key, value in seen.items() if key[1] < event.step}
            seen |= {(v.tag, event.step): v.simple_value for v in event.summary.value}
    return seen


def test_event_files_have_every_metric_of_every_epoch(config, tmp_path):
    log(tmp_path, config, epochs=3)
    seen = events(tmp_path)
    assert seen[("test_accuracy", 2)] == 0.5
    assert {step for _, step in seen} == {1, 2, 3}
    tags = {tag for tag, _ in seen}
    assert tags == metrics(1).keys() - {"epoch"} | {"seconds", "images_per_second"}


def test_logs_after_the_checkpoint_are_discarded(config, tmp_path):
    log(tmp_path, config, epochs=3)
    log(tmp_path, config, epochs=2, history=[metrics(1)])
    assert {step for _, step in events(tmp_path)} == {1, 2}
    assert run_dir.read_lines(tmp_path / "metrics.jsonl") == [metrics(1), metrics(2)]
    assert [line["epoch"] for line in run_dir.read_lines(tmp_path / "timing.jsonl")] == [1, 2]


def test_the_bar_shows_epoch_and_metrics(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    config.epochs = 4
    log(tmp_path, config, epochs=4, history=[metrics(1)])
    shown = capsys.readouterr().err
    assert "SAM, compiling" in shown
    assert "SAM, epoch 4/4: 100%" in shown
    assert "images/s" in shown
    assert "train_loss=0.25, train_accuracy=25.00%, test_accuracy=25.00%" in shown


def test_without_a_terminal_each_epoch_is_a_line(config, tmp_path, capsys):
    log(tmp_path, config, epochs=2)
    compiling, *epochs = capsys.readouterr().err.splitlines()
    assert compiling == "SAM: compiling"
    assert len(epochs) == 2
    assert epochs[1].startswith(
        "SAM, epoch 2/2, training loss 0.5, training accuracy 50.00%, test accuracy 50.00%, "
    )


def test_the_rate_is_that_of_training_alone(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    sizes = {"epochs": 2, "steps": lambda n: 5 * n, "examples_per_step": 10}
    with RunLogger(tmp_path, [], **sizes, score="accuracy", show_progress=False) as writer:
        writer.start_epoch(1, "SAM")
        clock[0] += 100  # compiling
        writer.log_first_step()
        clock[0] += 2  # the other four steps
        writer.end_steps()
        clock[0] += 7  # evaluating
        writer.end_epoch(metrics(1))
    (line,) = run_dir.read_lines(tmp_path / "timing.jsonl")
    assert line == {"epoch": 1, "seconds": 109, "images_per_second": 20}
