"""Lifelong runs on digits with a small network: memory, resuming, compilation, errors, results."""

import json
import os
import signal

import jax
import numpy as np
import pytest

from experiments import cli, train
from experiments.configs import continual
from experiments.continual import results
from experiments.data.task_stream import split_name
from experiments.results.runner import execute
from experiments.results.runs import Run
from experiments.tasks.continual.learners import gradients_per_step
from experiments.training import loop
from experiments.training.checkpoints import Checkpoints, kept_epochs
from experiments.training.metrics import NotFiniteError
from experiments.training.setup import make_run


def make_config(**changes):
    """Three tasks of two classes, two epochs of 13 steps each."""
    config = continual.get_config("digits")
    config.update(model="cnn1_4_8", tasks=3, epochs_per_task=2, train_examples=700, memory=20)
    config.update(changes)
    return config


def run(config, workdir):
    return train.run(config, workdir, show_progress=False)


def run_whole(config):
    """A run without a workdir: the memory after each epoch, the history."""
    trainer, pipeline = make_run(config)
    memories = []

    def save(state, history, step_metrics):
        if not step_metrics:
            memories.append(jax.tree.map(np.asarray, state.memory))

    state = train.initial_state(config, trainer)
    _, history = loop.train(trainer, pipeline, state, eval_every=config.epochs_per_task, save=save)
    return memories, history


def saved_state(workdir, config):
    trainer, _ = make_run(config)
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        progress = checkpoints.restore(trainer.abstract_state)
    return jax.tree.map(np.asarray, progress.state._replace(key=None))


def interrupt_at(monkeypatch, step):
    """Sends SIGTERM to the program in that step of the process, from 1."""
    steps = []
    train_epoch = loop.train_epoch

    def interrupted(step_fn, *arguments, **others):
        def counted(state, batch):
            steps.append(1)
            if len(steps) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return step_fn(state, batch)

        return train_epoch(counted, *arguments, **others)

    monkeypatch.setattr(loop, "train_epoch", interrupted)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "sam"},
        pytest.param({"learner": "lookbehind_cmaml:k=2,rho=0.05"}, marks=pytest.mark.slow),
    ],
    ids=["er", "lookbehind_cmaml"],
)
def test_a_signal_stops_a_run_in_the_middle_of_a_task_and_it_resumes_to_the_same_bits(
    changes, tmp_path, monkeypatch, capsys
):
    config = make_config(save_every=6, **changes)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(config, whole)
    steps = make_run(config)[1].steps
    with monkeypatch.context() as patch:
        interrupt_at(patch, steps(2) + 5)  # the first epoch of the second task
        with pytest.raises(cli.Interrupted) as interruption:
            train.main(config, stopped)
    assert interruption.value.__notes__ == [
        f"{stopped} has finished 2 of 6 epochs and 5 steps, and the same command resumes there"
    ]
    assert [path.name for path in (stopped / "checkpoints").iterdir()] == [str(steps(2) + 5)]
    assert not (stopped / "continual.json").exists()
    capsys.readouterr()
    train.main(config, stopped)
    assert capsys.readouterr().err.startswith("Resuming after 2 epochs and 5 steps.\n")
    for name in ("continual.json", "metrics.jsonl"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes()
    first, second = (saved_state(workdir, config) for workdir in (whole, stopped))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert kept_epochs(stopped / "checkpoints") == [6]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The workdir of a finished run with AE-SAM."""
    workdir = tmp_path_factory.mktemp("runs") / "ae_sam"
    train.main(make_config(method="ae_sam"), workdir)
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
    train.main(make_config(method="ae_sam"), finished)
    assert "ER + AE-SAM: average test accuracy" in capsys.readouterr().out
    assert (finished / "continual.json").read_bytes() == before


def test_another_config_in_the_workdir_raises(finished):
    with pytest.raises(SystemExit, match=r"memory: 20.*30"):
        train.main(make_config(method="ae_sam", memory=30), finished)


def test_one_compilation_for_all_tasks(compilations):
    config = make_config()
    trainer, pipeline = make_run(config)
    state = train.initial_state(config, trainer)
    seen = []
    for batches in pipeline.train(0):
        with compilations() as count:
            for batch in batches:
                state, _ = trainer.phases[0].step(state, batch)
            for evaluation in pipeline.evaluation.values():
                for batch in evaluation():
                    trainer.evaluate(state, batch)
        seen.append(count[0])
    assert len(seen) == 6
    assert seen[0] > 0
    assert not any(seen[1:])


def test_the_memory_holds_training_images_of_their_first_epoch_only():
    config = make_config()
    stream = make_run(config)[1].info
    memories, _ = run_whole(config)
    train_images = {image.tobytes() for task in stream.train for image in task.images}
    test = {image.tobytes() for task in stream.evaluation["test"] for image in task.images}
    for epoch, memory in enumerate(memories):
        stored = {image.tobytes() for image in memory.images}
        assert stored <= train_images
        assert not stored & (test - train_images)
        assert memory.labels.max() // 2 <= epoch // 2
    # The second epoch of each task stores nothing.
    for first, second in zip(memories[::2], memories[1::2], strict=True):
        jax.tree.map(np.testing.assert_array_equal, first, second)
    assert len(set((memories[-1].labels // 2).tolist())) == 3


def test_every_epoch_stores_if_asked():
    config = make_config(store="every_epoch")
    memories, _ = run_whole(config)
    steps = make_run(config)[1].steps
    offered = [10 * steps(epochs) for epochs in range(1, 7)]
    assert [int(memory.seen) for memory in memories] == offered


def test_joint_training_learns_the_same_classes_at_once():
    config = make_config(learner="joint", batch_size=8)  # divided among the devices
    trainer, pipeline = make_run(config)
    assert trainer.title == "SGD"
    assert pipeline.evaluation.keys() == {"val", "test"}
    labels = {int(label) for batch in next(pipeline.train(0)) for label in batch.labels}
    assert labels == set(range(6))


def stream_of(**changes):
    """The trainer, the state before the first step and the data."""
    config = make_config(**changes)
    trainer, pipeline = make_run(config)
    return trainer, train.initial_state(config, trainer), pipeline


def test_replay_changes_neither_the_batches_nor_the_first_step():
    states = []
    runs = [stream_of(memory=memory) for memory in (0, 20)]
    batches = [next(pipeline.train(3)) for *_, pipeline in runs]
    for ours, theirs in zip(*batches, strict=True):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    for trainer, state, pipeline in runs:
        states.append(trainer.phases[0].step(state, next(next(pipeline.train(0))))[0])
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), states[0].params, states[1].params
    )


def test_glances_repeat_the_batch_and_store_it_once():
    *_, pipeline = stream_of(glances=3)
    batches = list(next(pipeline.train(0)))
    assert len(batches) == pipeline.steps(1)
    assert [int(batch.number) for batch in batches] == list(range(len(batches)))
    for glance in range(3):
        np.testing.assert_array_equal(batches[glance].examples.labels, batches[0].examples.labels)
    assert [bool(batch.store) for batch in batches[:6]] == [False, False, True] * 2


def test_an_epoch_goes_on_within_the_glances_at_a_batch():
    *_, pipeline = stream_of(glances=3)
    whole, rest = list(next(pipeline.train(2))), list(next(pipeline.train(2, 4)))
    for ours, theirs in zip(whole[4:], rest, strict=True):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize(
    ("changes", "loss"),
    [
        ({"method": "lookbehind_sam:k=2,rho=0.05"}, 0.5300893783569336),
        ({"learner": "cmaml:k=2", "glances": 2, "store": "every_epoch"}, 0.38629698753356934),
        (
            {"learner": "lookbehind_cmaml:k=2,rho=0.05", "method": "sam:rho=0.05"},
            0.496863454580307,
        ),
    ],
    ids=["er", "cmaml", "lookbehind_cmaml"],
)
def test_the_first_epoch_is_as_recorded(changes, loss):
    # Recorded with a training loop that lifelong learning had of its own.
    trainer, state, pipeline = stream_of(train_examples=400, **changes)
    _, metrics = loop.train_epoch(trainer.phases[0].step, state, next(pipeline.train(0)))
    assert np.mean([step["loss"] for step in metrics]) == pytest.approx(loss, rel=1e-5)


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
    config = make_config(learner=learner, method=method, memory=memory)
    trainer, _ = make_run(config)
    assert trainer.title == title
    assert gradients_per_step(config) == pytest.approx(gradients)


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
        ({"patience": 2}, "patience.*2"),
        ({"dataset": "imagenet2012"}, "dataset.*imagenet2012"),
    ],
)
def test_invalid_configs_raise_before_training(changes, pattern, tmp_path):
    config = make_config(**changes)
    with pytest.raises(SystemExit, match=pattern):
        train.main(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_diverges_is_marked_and_does_not_end_a_table(tmp_path):
    config = make_config(learning_rate=1e30)
    config.clip_norm = None
    diverging = Run(config, tmp_path / "diverging")
    execute([diverging])
    assert diverging.diverged
    with pytest.raises(NotFiniteError) as error:
        run(config, tmp_path / "again")
    assert "newest checkpoint" in error.value.__notes__[0]


@pytest.mark.parametrize(
    "method",
    ["esam"] + [pytest.param(name, marks=pytest.mark.slow) for name in ("lookahead_sam", "ss_sam")],
)
def test_other_methods_train(method):
    _, history = run_whole(make_config(method=method, tasks=1, epochs_per_task=1))
    assert np.isfinite(history[-1]["test_task01_loss"])


def test_the_matrix_has_a_row_for_each_evaluated_epoch():
    names = [f"{split_name('val', task)}_accuracy" for task in range(2)]
    history = [{}, dict.fromkeys(names, 0.5), {}, dict.fromkeys(names, 0.25)]
    matrix = results.accuracy_matrix(history, "val", 2)
    np.testing.assert_array_equal(matrix, [[0.5, 0.5], [0.25, 0.25]])
