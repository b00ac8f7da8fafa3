"""A config.json of any shape, of a run that is analyzed: one line that names the run."""

import json
import shutil

import pytest

from experiments import analyze
from tests.support.analyzed_runs import QUICK

CONTENTS = [
    b"",
    b"{",
    b"\xff\xfe",
    b"\0" * 100,
    b"[]",
    b"3",
    b'"text"',
    b"null",
    b"true",
    b"NaN",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 10_000,
    b"{}",  # the defaults, which the checkpoint does not have
]
CHANGES = [
    {"task": "nothing"},
    {"task": 3},
    {"model": "nowhere:make"},
    {"model": "resnet999"},
    {"model": "../../etc/passwd"},
    {"model": ["dense"]},
    {"dataset": "nowhere"},
    {"dataset": "nowhere:load"},
    {"dataset": {"digits": 1}},
    {"image_size": 0},
    {"image_size": "big"},
    {"batch_size": 0},
    {"batch_size": -(10**30)},
    {"batch_size": 10**30},
    {"batch_size": 1e300},
    {"epochs": 0},
    {"epochs": 10**4000},
    {"epochs": 1},  # fewer than the checkpoints have
    {"method": "adam"},
    {"method": "lookahead_sam"},  # whose state has other arrays
    {"method": "sam:rho=1e999"},
    {"method": "sam:" * 10_000},
    {"method": '"><script>alert(1)</script>'},
    {"switch": [[1, "adam"]]},
    {"switch": [[10**30, "sam"]]},
    {"switch": [[[[[]]]]]},
    {"switch": "ab"},
    {"dtype": "float99"},
    {"seed": -1},
    {"seed": 2**64},
    {"seed": '"><script>alert(1)</script>'},
    {"validation": 2},
    {"validation": float("nan")},
    {"train_examples": 10**30},
    {"train_examples": 0},
    {"train_examples": "all"},
    {"label_noise": float("nan")},
    {"label_noise": -1},
    {"learning_rate": 10**400},
    {"learning_rate": -1},
    {"learning_rate": float("inf")},
    {"momentum": "0.9"},
    {"optimizer": 3},
    {"betas": [1]},
    {"betas": [0.9, "x"]},
    {"betas": [[0.9], [0.9]]},
    {"": 1},
    {"a.b": 2},
    {"__class__": "x"},
    {"_fields": {}},
]
HARMLESS = [{"items": 3}, {"copy": None}, {"extra": {"deep": [[[]]]}}, {"extra": "<script>"}]


def analyze_training(run, output):
    analyze.main([str(run), f"--output={output}", *QUICK.split(), "--measures=training"])


@pytest.fixture(scope="module")
def run(runs, tmp_path_factory):
    """A copy of a run, of which each test writes the config."""
    return shutil.copytree(runs["sgd-0"], tmp_path_factory.mktemp("copy") / "run")


@pytest.fixture
def saved(runs):
    """The config of the run."""
    return json.loads((runs["sgd-0"] / "config.json").read_text())


def assert_one_line(run, output, caplog):
    with pytest.raises(SystemExit) as error:
        analyze_training(run, output)
    message = str(error.value)
    assert message.startswith("error: ")
    assert "\n" not in message
    assert len(message) < 600
    assert all("\n" not in record.getMessage() for record in caplog.records)
    return message


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
def test_a_file_without_a_config_ends_with_one_line(content, run, tmp_path, caplog):
    (run / "config.json").write_bytes(content)
    assert str(run) in assert_one_line(run, tmp_path, caplog)


@pytest.mark.parametrize("changes", CHANGES, ids=range(len(CHANGES)))
def test_values_that_cannot_be_used_end_with_one_line(changes, run, saved, tmp_path, caplog):
    (run / "config.json").write_text(json.dumps(saved | changes))
    assert str(run) in assert_one_line(run, tmp_path, caplog)


@pytest.mark.parametrize("changes", HARMLESS, ids=range(len(HARMLESS)))
def test_unknown_keys_are_in_nobodys_way(changes, run, saved, tmp_path):
    (run / "config.json").write_text(json.dumps(saved | changes))
    analyze_training(run, tmp_path)
    assert "<script" not in (tmp_path / "report.html").read_text()
