"""Progress of work in items, on a terminal and in a log."""

import sys

import pytest

from experiments.results import progress as progress_module
from experiments.results.progress import Progress


def two_items():
    with Progress(2, "measures") as progress:
        for name in ("first", "second"):
            progress.start(name)
            progress.end()


def test_a_log_has_a_line_for_each_item_with_the_time_that_is_left(capsys):
    two_items()
    err = capsys.readouterr().err
    assert "\r" not in err
    first, second = err.splitlines()
    assert first.startswith("first: ")
    assert "1 of 2 measures, 00:00 left" in first
    assert "2 of 2 measures" in second


def test_what_was_found_done_does_not_shorten_the_time_that_is_left(capsys, monkeypatch):
    times = iter([0.0, 0.0, 10.0])
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: next(times))
    with Progress(100, "measures") as progress:
        progress.count(97)
        progress.start("slow")
        progress.end()
    assert "98 of 100 measures, 00:20 left" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_terminal_has_a_bar(name, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    two_items()
    err = capsys.readouterr().err
    assert "\r" in err
    assert f"{name}: " in err
