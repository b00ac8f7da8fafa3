"""Runs on disk: their folders, their commands, what is left of them when damaged."""

import json
import shlex
import sys

import pytest
from absl import flags
from ml_collections.config_flags import config_flags

from experiments import papers, train
from experiments.configs import continual
from experiments.methods.table import method
from experiments.papers.setting import noisy_digits
from experiments.results.measuring import Measurement
from experiments.results.page import write_json
from experiments.results.runs import Run, hours, run_of
from experiments.results.table import Table, pack

SETTING = noisy_digits()


def run(root, name="sam", seed=0, **changes):
    return run_of(SETTING.row(name, **changes).config, seed, root)


def test_equal_runs_share_a_folder_and_other_configs_and_seeds_do_not(tmp_path):
    assert run(tmp_path, workers=1, eval_batch_size=7).path == run(tmp_path).path
    others = [run(tmp_path, seed=1), run(tmp_path, epochs=3), run(tmp_path, "asam")]
    assert len({other.path for other in (run(tmp_path), *others)}) == 4


def test_a_seed_can_draw_the_data_too(tmp_path):
    config = SETTING.row("sam").config
    assert run_of(config, 3, tmp_path).config.data_seed == 0
    assert run_of(config, 3, tmp_path, draws_data=True).config.data_seed == 3


def parsed(words, monkeypatch):
    """The config and the workdir that a command line stands for."""
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file("config", flag_values=values)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    monkeypatch.setattr(sys, "argv", words)  # where config flags look for --config.key
    values(words)
    return json.loads(config.value.to_json()), values.workdir


@pytest.mark.parametrize("scale", ["laptop", "paper"])
@pytest.mark.parametrize("name", ["table1", "table2", "table4", "table9", "figure8", "figure9"])
def test_commands_parse_to_the_config_of_their_run(name, scale, tmp_path, monkeypatch):
    rows = papers.load(f"lookbehind.{name}").rows(scale)
    for row in {len(row.params): row for row in rows}.values():
        run = run_of(row.config, 3, tmp_path)
        words = shlex.split(run.command_line())
        assert words[:2] == ["python", "-m"]
        theirs, workdir = parsed(words[2:], monkeypatch)
        assert workdir == str(run.path)
        mine = json.loads(run.config.to_json())
        assert method(theirs.pop("method")) == method(mine.pop("method"))
        assert theirs == mine


def test_hours_come_from_finished_runs_with_the_same_model_and_data(tmp_path):
    done, missing = (
        run(tmp_path, seed=seed)._replace(size=size) for seed, size in ((0, 10), (1, 5))
    )
    done.path.mkdir()
    lines = [{"epoch": epoch, "seconds": 1800.0} for epoch in (1, 2)]
    (done.path / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert hours([missing], [done]) == 0.5
    assert hours([run(tmp_path, model="wrn10_1")], [done]) is None
    assert hours([], []) == 0


def test_a_run_whose_log_is_not_that_of_its_checkpoint_is_not_finished(config, tmp_path):
    config.update(epochs=1, train_examples=128)
    run = run_of(config, 0, tmp_path)
    assert not run.is_done
    train.run(run.config, run.path, show_progress=False)
    assert run.is_done
    for damaged in ('{"epoch": 1, "train_loss": 2.0}\n', '{"epoch\n', ""):
        (run.path / "metrics.jsonl").write_text(damaged)
        assert not run.is_done


DAMAGED = ["", "{", "[]x", "\x00"]


@pytest.mark.parametrize("content", [*DAMAGED, "[]", "3"])
def test_a_lifelong_run_with_a_damaged_result_is_not_finished(content, tmp_path):
    run = Run(continual.get_config(), tmp_path)
    assert not run.is_done
    (tmp_path / "continual.json").write_text(content)
    assert not run.is_done
    (tmp_path / "continual.json").write_text("{}")
    assert run.is_done


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_measurement_is_taken_again(content, config, tmp_path):
    measurement = Measurement(Run(config, tmp_path), "m_sharpness", {"steps": 2})
    assert not measurement.is_done
    measurement.file.parent.mkdir()
    table = Table([{"metric": "loss", "value": 1.0}])
    write_json(measurement.file, pack(table))
    assert measurement.is_done
    assert measurement.read().rows == table.rows
    measurement.file.write_text(content)
    assert not measurement.is_done
    with pytest.raises(ValueError, match="missing or damaged"):
        measurement.read()


def test_other_options_are_another_measurement(config, tmp_path):
    run = Run(config, tmp_path)
    files = {Measurement(run, "m_sharpness", {"steps": steps}).file for steps in (1, 2)}
    assert len(files) == 2
