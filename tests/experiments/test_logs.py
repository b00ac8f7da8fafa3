"""What a run leaves to look at: event files, lines, figures."""

import json
import struct
import sys

import pytest
from tensorboardX.proto.event_pb2 import Event

from experiments import plot
from experiments.training import loggers as logs
from experiments.training import run_dir as workdir


def metrics(epoch):
    names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    return {"epoch": epoch} | dict.fromkeys(names, 1 / epoch)


def log(path, config, epochs, history=()):
    path.mkdir(exist_ok=True)
    with logs.Logs(path, config, list(history), steps=3) as writer:
        for epoch in range(len(history) + 1, epochs + 1):
            writer.start_epoch(epoch, "SAM")
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


def test_what_was_logged_after_the_checkpoint_is_void(config, tmp_path):
    log(tmp_path, config, epochs=3)
    log(tmp_path, config, epochs=2, history=[metrics(1)])
    assert {step for _, step in events(tmp_path)} == {1, 2}
    assert workdir.read_lines(tmp_path / "metrics.jsonl") == [metrics(1), metrics(2)]
    assert [line["epoch"] for line in workdir.read_lines(tmp_path / "timing.jsonl")] == [1, 2]


def test_the_bar_says_where_the_run_is(config, tmp_path, capsys):
    config.epochs = 4
    log(tmp_path, config, epochs=4, history=[metrics(1)])
    shown = capsys.readouterr().err
    assert "SAM, epoch 4/4: 100%" in shown
    assert "images/s" in shown
    assert "accuracy=25.0%, loss=0.250, test=25.00%" in shown


def run_plot(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["plot", *map(str, arguments)])
    plot.main()


def test_plot_draws_runs_of_different_lengths(config, tmp_path, monkeypatch, capsys):
    runs = [log(tmp_path / str(epochs), config, epochs) for epochs in (2, 5)]
    figure = tmp_path / "curves.png"
    run_plot(monkeypatch, *runs, f"--output={figure}")
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert str(figure) in capsys.readouterr().out


def test_plot_says_what_it_did_not_find(config, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="No such file or directory"):
        run_plot(monkeypatch, tmp_path / "nowhere")
    with pytest.raises(SystemExit, match="has no epoch to draw yet"):
        run_plot(monkeypatch, log(tmp_path / "empty", config, 0))


def test_a_half_written_line_is_not_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(metrics(1)) + '\n{"epoch": 2, "tr')
    assert workdir.read_lines(path) == [metrics(1)]
