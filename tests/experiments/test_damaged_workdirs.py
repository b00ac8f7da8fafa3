"""Files of a workdir that are damaged, missing or of another type: one line with their path."""

import json
import subprocess
import sys

import pytest

from experiments.campaign.commands import COMMANDS
from experiments.campaign.measuring import Measurement
from experiments.campaign.runs import Run
from experiments.configs import digits
from experiments.recipes.recipe import MeasureSpec
from experiments.storage.lock import claimed, only_writer
from experiments.training import run_dir


@pytest.fixture
def config():
    return digits.get_config()


@pytest.fixture
def workdir(config, tmp_path):
    run_dir.write_config(tmp_path, config)
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    return tmp_path


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def assert_one_line(error, path):
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 400


def test_checkpoints_without_a_config_raise(config, workdir):
    run_dir.check_config(workdir, config)
    (workdir / "config.json").unlink()
    with pytest.raises(ValueError, match="is missing") as error:
        run_dir.check_config(workdir, config)
    assert_one_line(error, workdir / "config.json")
    (workdir / "checkpoints" / "1").rmdir()
    run_dir.check_config(workdir, config)


DAMAGED = [b"", b"{", b"\xff\xfe", b"[]", b'"text"', b"null", b"[" * 100_000, b"[[" * 50_000]
FOREIGN = {
    "seed": ['"><script>alert(1)</script>', 1.5, True, None, [1], {}, "9" * 10_000],
    "epochs": ["3", None, {"a": 1}],
    "learning_rate": ["fast", True, []],
    "dataset": [1, ["digits"], {}],
    "method": [None, 3, {}],
    "augment": [1, "yes"],
    "betas": ["ab", 3],
    "switch": [{}, [1], [[1]], [["sam", 1]], [[1, 2]], [[True, "sam"]]],
}


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_config_raises(config, workdir, content):
    path = workdir / "config.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged|must hold") as error:
        run_dir.check_config(workdir, config)
    assert_one_line(error, path)


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in FOREIGN.items() for value in values]
)
def test_a_config_with_values_of_other_types_raises(workdir, key, value):
    change(workdir / "config.json", **{key: value})
    with pytest.raises(ValueError, match=f"{key} must be") as error:
        run_dir.read_config(workdir)
    assert_one_line(error, workdir / "config.json")


@pytest.mark.parametrize("name", ["config.json", "versions.json"])
def test_a_folder_in_place_of_a_file_raises(config, workdir, name):
    (workdir / name).unlink()
    (workdir / name).mkdir()
    function = run_dir.check_config if name == "config.json" else run_dir.write_config
    with pytest.raises(OSError, match="Is a directory") as error:
        function(workdir, config)
    assert_one_line(error, workdir / name)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"{}", b"3"])
def test_damaged_versions_raise(config, workdir, content):
    (workdir / "versions.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged|must hold") as error:
        run_dir.write_config(workdir, config)
    assert_one_line(error, workdir / "versions.json")


@pytest.mark.parametrize("line", [b"{", b"", b"\xff", b"[]", b'"x"', b"[" * 100_000])
def test_a_damaged_line_of_a_log_raises_with_its_number(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"epoch": 1}\n' + line + b'\n{"epoch": 3}\n')
    with pytest.raises(ValueError, match=r"line 2 of .* is damaged") as error:
        run_dir.read_lines(path)
    assert_one_line(error, path)


def test_an_unfinished_last_line_is_skipped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"epoch": 1}\n{"epo')
    assert run_dir.read_lines(path) == [{"epoch": 1}]


@pytest.mark.parametrize("line", ["{}", '{"seconds": null}', '{"seconds": []}'])
def test_a_timing_without_seconds_raises(tmp_path, line):
    (tmp_path / "timing.jsonl").write_text(f"{line}\n")
    with pytest.raises(ValueError, match="seconds") as error:
        run_dir.total_seconds(tmp_path)
    assert_one_line(error, tmp_path / "timing.jsonl")


def test_a_run_whose_log_is_not_that_of_its_checkpoint_is_not_finished(workdir, config):
    history = [{"epoch": 1, "train_loss": float("nan")}]
    config.epochs = 1
    (workdir / "checkpoints" / "1" / "history").mkdir()
    saved = workdir / "checkpoints" / "1" / "history" / "metadata"
    saved.write_text(json.dumps({"epochs": history, "checksums": {}}))
    finished = COMMANDS["train"].finished
    assert not finished(workdir, config)  # no log yet
    run_dir.write_lines(workdir / "metrics.jsonl", history)
    assert finished(workdir, config)
    for damaged in ('{"epoch": 1, "train_loss": 2.0}\n', '{"epoch\n', "", "[]\n"):
        (workdir / "metrics.jsonl").write_text(damaged)
        assert not finished(workdir, config)
    run_dir.write_lines(workdir / "metrics.jsonl", history)
    saved.write_text("")
    assert not finished(workdir, config)


def test_a_full_disk_leaves_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    path.write_text("{}\n")

    def full(self, text, encoding):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_text", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        run_dir.write_lines(path, [{"epoch": 1}])
    assert_one_line(error, path)
    assert [each.name for each in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_second_process_is_refused(tmp_path, pytestconfig):
    code = (
        "import sys; from pathlib import Path; from experiments.storage.lock import only_writer\n"
        "with only_writer(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        cwd=pytestconfig.rootpath,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(ValueError, match="another process is writing") as error:
            only_writer(tmp_path).__enter__()
        assert_one_line(error, tmp_path)
        other.kill()  # whatever way a process ends
    with only_writer(tmp_path):
        pass


def test_a_process_may_write_to_the_folder_that_it_has_claimed(tmp_path):
    with claimed(tmp_path) as mine, only_writer(tmp_path):
        assert mine
    with only_writer(tmp_path), claimed(tmp_path) as again:
        assert not again


DAMAGED_RESULTS = ["", "{", "[]x", "\x00"]


@pytest.mark.parametrize("content", [*DAMAGED_RESULTS, "[]", "3"])
def test_a_continual_run_with_a_damaged_result_is_not_finished(content, tmp_path, config):
    finished, path = COMMANDS["continual"].finished, tmp_path / "continual.json"
    assert not finished(tmp_path, config)
    path.write_text(content)
    assert not finished(tmp_path, config)
    path.write_text("{}")
    assert finished(tmp_path, config)


@pytest.mark.parametrize("content", DAMAGED_RESULTS)
def test_a_damaged_measurement_is_taken_again(content, tmp_path):
    run = Run(COMMANDS["train"], digits.get_config(), tmp_path)
    measurement = Measurement(run, MeasureSpec("training", ()))
    assert not measurement.is_done
    measurement.file.parent.mkdir()
    run_dir.write_lines(measurement.file, [{"value": 1}])
    assert measurement.is_done
    assert measurement.read() == {"value": 1}
    measurement.file.write_text(content)
    assert not measurement.is_done
    with pytest.raises(ValueError, match="missing or damaged") as error:
        measurement.read()
    assert_one_line(error, measurement.file)


def test_a_damaged_log_counts_no_epochs(tmp_path):
    run = Run(COMMANDS["train"], digits.get_config(), tmp_path)
    assert run.epochs_done == 0
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n')
    assert run.epochs_done == 1
    (tmp_path / "metrics.jsonl").write_text("{\n{\n")
    assert run.epochs_done == 0
