"""Continual runs on digits with a small network: memory, resuming, compilation, errors, results."""

import json
import os
import signal
from functools import partial

import jax
import numpy as np
import pytest

from experiments import cli
from experiments.configs import continual
from experiments.continual import __main__ as command
from experiments.continual import results, setup
from experiments.continual import train as stream_training
from experiments.continual.train import evaluate, train_stream
from experiments.results.runner import execute
from experiments.results.runs import Run
from experiments.training.checkpoints import Checkpoints, kept_epochs
from experiments.training.loggers import NullLogger
from experiments.training.metrics import NotFiniteError


def make_config(**changes):
    """Three tasks of two classes, two epochs of 13 steps each."""
    config = continual.get_config("digits")
    config.update(model="cnn1_4_8", tasks=3, epochs_per_task=2, train_examples=700, memory=20)
    config.update(changes)
    return config


def run_whole(config):
    """A run without a workdir: the run, the memory after each epoch, the history."""
    run = setup.make_run(config)
    memories = []

    def save(state, history):
        memories.append(jax.tree.map(np.asarray, state.memory))

    return run, memories, train_stream(run, run.init(), [], NullLogger(), save)


class Stop(Exception):
    """Ends a run from within."""


def stop_after(monkeypatch, epochs):
    save = Checkpoints.save

    def save_and_stop(self, state, history, step_metrics):
        save(self, state, history, step_metrics)
        if len(history) == epochs:
            raise Stop

    monkeypatch.setattr(Checkpoints, "save", save_and_stop)


def saved_state(workdir, config):
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        progress = checkpoints.restore(partial(_abstract, config))
    return jax.tree.map(np.asarray, progress.state._replace(key=None))


def _abstract(config, epochs):
    return setup.abstract_state(setup.make_run(config))


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "sam"},
        pytest.param({"learner": "lookbehind_cmaml:k=2,rho=0.05"}, marks=pytest.mark.slow),
    ],
    ids=["er", "lookbehind_cmaml"],
)
def test_a_run_stopped_in_the_middle_of_a_task_resumes_to_the_same_bits(
    changes, tmp_path, monkeypatch
):
    config = make_config(**changes)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    command.main(config, whole)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)  # the first epoch of the second task
        with pytest.raises(Stop):
            command.main(config, stopped)
    assert not (stopped / "continual.json").exists()
    command.main(config, stopped)
    for name in ("continual.json", "metrics.jsonl"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes()
    first, second = (saved_state(workdir, config) for workdir in (whole, stopped))
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The workdir of a finished run with AE-SAM."""
    workdir = tmp_path_factory.mktemp("runs") / "ae_sam"
    command.main(make_config(method="ae_sam"), workdir)
    return workdir


def test_the_result_has_the_matrix_and_its_scores(finished):
    result = json.loads((finished / "continual.json").read_text())
    matrix = np.array(result["accuracy_matrix"])
    assert matrix.shape == (3, 3)
    assert result["average_accuracy"] == pytest.approx(matrix[-1].mean())
    assert {"forgetting", "backward_transfer", "learning_accuracy"} <= result.keys()
    assert result["evaluated_on"] == "test"
    assert "val_forgetting" in result
    assert sorted(result["class_order"]) == sorted(set(result["class_order"]))
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["task"] for line in lines] == [1, 1, 2, 2, 3, 3]
    for row, line in zip(matrix, lines[1::2], strict=True):
        assert [line[f"test_task0{task}_accuracy"] for task in (1, 2, 3)] == row.tolist()
    assert "test_task01_accuracy" not in lines[0]
    # ER with 10 replayed examples: 2 gradients of a batch at each of the weights of a step.
    applied = np.mean([line["train_applied"] for line in lines])
    assert result["gradients_per_step"] == pytest.approx(2 * (1 + applied), rel=0.01)


def test_figures_are_drawn(finished):
    for name in ("accuracies.png", "accuracy_matrix.png"):
        assert (finished / name).stat().st_size > 5000


def test_rerunning_a_finished_run_prints_its_summary(finished, capsys):
    before = (finished / "continual.json").read_bytes()
    command.main(make_config(method="ae_sam"), finished)
    assert "ER + AE-SAM: average test accuracy" in capsys.readouterr().out
    assert (finished / "continual.json").read_bytes() == before


def test_another_config_in_the_workdir_raises(finished):
    with pytest.raises(SystemExit, match=r"memory: 20.*30"):
        command.main(make_config(method="ae_sam", memory=30), finished)


def test_one_compilation_for_all_tasks(compilations):
    run = setup.make_run(make_config())
    state = run.init()
    seen = []
    for epoch in range(run.config.epochs):
        with compilations() as count:
            for batch in run.batches(epoch):
                state, _ = run.step(state, batch)
            evaluate(run, state)
        seen.append(count[0])
    assert seen[0] > 0
    assert not any(seen[1:])


def test_the_memory_holds_training_images_of_their_first_epoch_only():
    run, memories, _ = run_whole(make_config())
    train = {image.tobytes() for task in run.stream.train for image in task.images}
    test = {image.tobytes() for task in run.stream.evaluation["test"] for image in task.images}
    for epoch, memory in enumerate(memories):
        stored = {image.tobytes() for image in memory.images}
        assert stored <= train
        assert not stored & (test - train)
        assert memory.labels.max() // 2 <= run.task_of(epoch)
    # The second epoch of each task stores nothing.
    for first, second in zip(memories[::2], memories[1::2], strict=True):
        jax.tree.map(np.testing.assert_array_equal, first, second)
    assert len(set((memories[-1].labels // 2).tolist())) == 3


def test_every_epoch_stores_if_asked():
    run, memories, _ = run_whole(make_config(store="every_epoch"))
    offered = np.cumsum([run.steps_per_epoch[run.task_of(epoch)] * 10 for epoch in range(6)])
    assert [int(memory.seen) for memory in memories] == offered.tolist()


def test_replay_changes_neither_the_batches_nor_the_first_step():
    first, second = (setup.make_run(make_config(memory=m)) for m in (0, 20))
    for ours, theirs in zip(first.batches(3), second.batches(3), strict=True):
        jax.tree.map(np.testing.assert_array_equal, ours.examples, theirs.examples)
    batch = next(first.batches(0))
    states = [run.step(run.init(), batch)[0] for run in (first, second)]
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), states[0].params, states[1].params)


def test_glances_repeat_the_batch_and_store_it_once():
    run = setup.make_run(make_config(glances=3))
    batches = list(run.batches(0))
    assert len(batches) == run.steps_per_epoch[0]
    for glance in range(3):
        np.testing.assert_array_equal(batches[glance].examples.labels, batches[0].examples.labels)
    assert [bool(batch.store) for batch in batches[:6]] == [False, False, True] * 2


@pytest.mark.parametrize(
    ("learner", "memory", "method", "title", "gradients"),
    [
        ("er", 0, "none", "SGD", 1),
        ("er", 20, "none", "ER + SGD", 2),
        ("er", 20, "lookbehind_sam:k=5", "ER + Lookbehind-SAM", 12),
        ("cmaml", 20, "none", "C-MAML", 11),
        ("cmaml", 20, "sam", "C-MAML + SAM", 22),
        ("lookbehind_cmaml:k=2", 20, "none", "Lookbehind-C-MAML", 6),
        ("lookbehind_cmaml:k=2", 20, "sam", "Lookbehind-C-MAML + SAM", 12),
    ],
)
def test_titles_and_gradients_per_step(learner, memory, method, title, gradients):
    run = setup.make_run(make_config(learner=learner, method=method, memory=memory))
    assert run.title == title
    history = [{"task": 1}, {"task": 2}, {"task": 3}]
    assert results.gradients_per_step(run, history) == pytest.approx(gradients)


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"learner": "mer"}, "learner 'mer'.*cmaml"),
        ({"learner": "cmaml:k=6"}, "k=6.*10"),
        ({"learner": "cmaml:rho=1"}, "cmaml.*rho"),
        ({"learner": "lookbehind_cmaml:alpha=2"}, "alpha.*2"),
        ({"learner": "cmaml:inner_learning_rate=fast"}, "inner_learning_rate.*'fast'"),
        ({"learner": "cmaml", "method": "esam"}, "esam.*cmaml"),
        ({"method": "lookbehind_sam:switch_minibatch=true"}, "switch_minibatch"),
        ({"method": "no"}, "method 'no'"),
        ({"model": "resnet_digits"}, "model.*resnet_digits"),
        ({"tasks": 6}, "tasks.*10.*6 \\* 2"),
        ({"memory": -1}, "memory.*-1"),
        ({"replay": 0}, "replay.*0"),
        ({"glances": 0}, "glances.*0"),
        ({"brightness": 1.5}, "brightness.*1.5"),
        ({"store": "never"}, "store.*'never'"),
        ({"epochs": 7}, "epochs.*6.*7"),
        ({"batch_size": 1000}, "batch_size.*1000"),
        ({"microbatches": 2}, "microbatches.*2"),
        ({"dataset": "imagenet2012"}, "dataset.*imagenet2012"),
    ],
)
def test_invalid_configs_raise_before_training(changes, pattern, tmp_path):
    config = make_config(**changes)
    with pytest.raises(SystemExit, match=pattern):
        command.main(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run_with_advice(tmp_path):
    config = make_config(learning_rate=1e30)
    config.clip_norm = None
    with pytest.raises(SystemExit, match=r"the loss is .* of epoch 1.*learning_rate"):
        command.main(config, tmp_path)


def test_a_run_that_diverges_is_marked_and_does_not_end_a_table(tmp_path):
    config = make_config(learning_rate=1e30)
    config.clip_norm = None
    diverging = Run(config, tmp_path / "diverging")
    execute([diverging])
    assert diverging.diverged
    with pytest.raises(NotFiniteError) as error:
        command.run(config, tmp_path / "again", show_progress=False)
    assert "newest checkpoint" in error.value.__notes__[0]


def test_a_signal_stops_the_run_after_the_epoch_that_it_is_in(tmp_path, monkeypatch):
    config = make_config(save_every=6)
    command.run(config, tmp_path / "whole", show_progress=False)
    train_epoch = stream_training.train_epoch
    epochs = []

    def interrupted_epoch(*arguments):
        epochs.append(1)
        if len(epochs) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_epoch(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stream_training, "train_epoch", interrupted_epoch)
        with pytest.raises(cli.Interrupted):
            command.run(config, tmp_path / "stopped", show_progress=False)
    assert kept_epochs(tmp_path / "stopped" / "checkpoints") == [3]
    command.run(config, tmp_path / "stopped", show_progress=False)
    for name in ("continual.json", "metrics.jsonl"):
        whole, stopped = (tmp_path / folder / name for folder in ("whole", "stopped"))
        assert whole.read_bytes() == stopped.read_bytes()


@pytest.mark.parametrize(
    "method",
    ["esam"] + [pytest.param(name, marks=pytest.mark.slow) for name in ("lookahead_sam", "ss_sam")],
)
def test_other_methods_train(method):
    _, _, history = run_whole(make_config(method=method, tasks=1, epochs_per_task=1))
    assert np.isfinite(history[-1]["test_task01_loss"])


def test_an_interruption_says_how_far_the_run_is_and_the_command_resumes(
    tmp_path, monkeypatch, capsys
):
    config = make_config(save_every=2)
    save = Checkpoints.save

    def save_and_interrupt(self, state, history, step_metrics):
        save(self, state, history, step_metrics)
        if len(history) == 4:
            raise cli.Interrupted(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_interrupt)
        with pytest.raises(cli.Interrupted) as stopped:
            command.main(config, tmp_path)
    assert stopped.value.__notes__ == [
        f"{tmp_path} has finished 4 of 6 epochs, and the same command resumes there"
    ]
    assert kept_epochs(tmp_path / "checkpoints") == [2, 4]
    capsys.readouterr()
    command.main(config, tmp_path)
    assert capsys.readouterr().err.startswith("Resuming after 4 epochs.\n")
    assert kept_epochs(tmp_path / "checkpoints") == [4, 6]
