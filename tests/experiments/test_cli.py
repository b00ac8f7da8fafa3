"""Command lines end to end: a run, its help, and mistakes that end with one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from experiments import analyze, cli, reproduce
from experiments.papers import search
from experiments.storage.disk import user_path


@pytest.fixture
def run_train(pytestconfig):
    def run(*arguments):
        command = [sys.executable, "-m", "experiments.train", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=pytestconfig.rootpath, check=False
        )

    return run


def test_a_run_writes_config_and_metrics_and_prints_what_it_does(run_train, tmp_path):
    workdir = tmp_path / "new" / "run"
    done = run_train(
        "--config=experiments/configs/digits.py",
        "--config.method=lookbehind_sam:k=5,alpha=0.5",
        "--config.epochs=1",
        "--config.train_examples=256",
        f"--workdir={workdir}",
    )
    assert done.returncode == 0, done.stderr
    saved = json.loads((workdir / "config.json").read_text())
    assert saved["method"] == "lookbehind_sam:k=5,alpha=0.5"
    (line,) = (workdir / "metrics.jsonl").read_text().splitlines()
    names = {"epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"}
    assert json.loads(line).keys() == names | {"train_alpha", "train_sharpness"}
    assert "Lookbehind-SAM: test accuracy" in done.stdout
    assert str(workdir) in done.stdout
    first, second = done.stderr.splitlines()  # and nothing from the libraries
    assert first == "Lookbehind-SAM: compiling"
    assert second.startswith("Lookbehind-SAM, epoch 1/1, training loss ")
    assert {path.name for path in workdir.iterdir()} == {
        ".lock",
        "checkpoints",
        "config.json",
        "events",
        "metrics.jsonl",
        "timing.jsonl",
        "versions.json",
    }


def test_help_lists_flags_names_and_keys(run_train):
    done = run_train("--help")
    assert done.returncode == 0
    for text in (
        "--config.method=lookbehind_sam",  # the docstring's example
        "--workdir: Folder for the results",
        "--coordinator: Several hosts",
        "Setups, --config: cifar, ",
        "  sam:rho=0.05\n",
        "  --config.learning_rate=0.1\n",
    ):
        assert text in done.stdout


def test_data_that_is_not_there_is_asked_for(run_train, tmp_path):
    done = run_train("--config=cifar:aesam", f"--config.data_dir={tmp_path}")
    assert done.returncode == 1
    assert "tfds build cifar10" in done.stderr
    assert "Traceback" not in done.stderr


# Arguments, and what the message must contain.
MISTAKES = {
    "--config.epoch=3": "unknown config key 'epoch' (did you mean 'epochs'?); valid ones: augment",
    "--config.rho=0.1": "part of its string: --config.method=sam:rho=0.05",
    "--config.method.k=5": "unknown config key 'method.k'",
    "--noconfig.eval_tst": "unknown config key 'eval_tst'",
    "--wrkdir=runs": "Did you mean: workdir",
    "sam": "unexpected arguments: sam",
    "--flagfile=nowhere": "Unable to open flagfile",
    "--config=digit": "unknown config 'digit' (did you mean 'digits'?)",
    "--config=cifar:fast": "unknown recipe 'fast'; valid ones: aesam, lookbehind",
    "--config.method=lookbehindsam:k=5": "did you mean 'lookbehind_sam'",
    "--config.method=sam:k=5": "sam has no argument k",
    "--config.method=sam:rho=0": "rho must be",
    "--config.switch=((5,3),)": "switch must be",
    "--config.epochs=many": "invalid literal for int() with base 10: 'many'",
    "--config.epochs=0": "epochs must be >= 1, got 0",
    "--config.batch_size=5000": "batch_size must be in [1, 1437], got 5000",
    "--config.optimizer=adma": "unknown optimizer 'adma' (did you mean 'adam'?)",
    "--config.model=resnet19": "unknown model 'resnet19' (did you mean 'resnet18'?)",
    "--config.dataset=digit": "unknown dataset 'digit' (did you mean 'digits'?)",
    "--config.pretrained=nowhere.npz --config.model=vit_s4": "nowhere.npz",
    "--process_count=2": "several processes need --coordinator=auto alone, or all of",
}


@pytest.fixture(scope="module")
def answers(pytestconfig, tmp_path_factory):
    """Exit code and output of every command line."""
    workdir = tmp_path_factory.mktemp("runs")
    lines = [[*line.split(), f"--workdir={workdir / str(n)}"] for n, line in enumerate(MISTAKES)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.forked_commands"],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        cwd=pytestconfig.rootpath,
        check=True,
    )
    return dict(zip(MISTAKES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_ends_with_one_line_and_exit_code_1(answers, line):
    code, output = answers[line]
    assert code == 1, output
    assert MISTAKES[line] in output
    assert len(output.splitlines()) == 1, output


def test_a_tilde_in_a_path_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    command = ["train", "--config.data_dir=~/data", "--config.pretrained=~/vit.npz"]
    config, _ = cli.parse_config(command, "digits", flags.FlagValues())
    assert (config.data_dir, config.pretrained) == ("/home/me/data", "/home/me/vit.npz")
    assert user_path("~/runs/x") == Path("/home/me/runs/x")


@pytest.mark.parametrize(
    ("command", "argument"),
    [(analyze, "run"), (reproduce, "cifar.methods"), (search, "cifar.noisy")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_data_dir_may_begin_with_the_home_folder(command, argument, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    options = command.parser().parse_args([argument, "--data_dir=~/data"])
    assert options.data_dir == "/home/someone/data"
