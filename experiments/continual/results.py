"""Results of a continual run: ``continual.json``, and figures of the accuracies."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.continual import figures
from experiments.continual.scores import scores
from experiments.continual.setup import ContinualRun
from experiments.storage import disk
from experiments.training import run_dir
from experiments.training.metrics import METRICS, Record

RESULT = "continual.json"
ACCURACIES, MATRIX = "accuracies.png", "accuracy_matrix.png"


def metric(split: str, task: int) -> str:
    """Prefix of the metrics of a task, from 0: ``test_task01``."""
    return f"{split}_task{task + 1:02d}"


def write(run: ContinualRun, history: Sequence[Record], workdir: Path) -> dict[str, Any]:
    """Writes the results of a finished run, and returns those of the JSON file."""
    split = "test" if "test" in run.stream.evaluation else "val"
    matrix = accuracy_matrix(history, split, run.stream.tasks)
    result = {
        "evaluated_on": split,
        **scores(matrix),
        "accuracy_matrix": matrix.tolist(),
        "gradients_per_step": gradients_per_step(run, history),
        "title": run.title,
        "learner": run.config.learner,
        "method": str(run.method),
        "memory": run.config.memory,
        "seed": run.config.seed,
        "class_order": run.stream.class_order,
    }
    if len(run.stream.evaluation) > 1:
        held_out = accuracy_matrix(history, "val", run.stream.tasks)
        result |= {f"val_{name}": score for name, score in scores(held_out).items()}
    figures.accuracies(workdir / ACCURACIES, matrix, run.title)
    figures.heat_map(workdir / MATRIX, matrix, run.title)
    # Last: a file of this name means that the run is finished.
    disk.write_text(workdir / RESULT, json.dumps(result, indent=1) + "\n")
    return result


def accuracy_matrix(history: Sequence[Record], split: str, tasks: int) -> np.ndarray:
    """Accuracy on each task after the last epoch of each task, ``[trained task, task]``."""
    names = [f"{metric(split, task)}_accuracy" for task in range(tasks)]
    return np.array([[record[n] for n in names] for record in history if names[0] in record])


def gradients_per_step(run: ContinualRun, history: Sequence[Record]) -> float:
    """Mean number of gradients of a step, in gradients of one batch without replay.

    Differentiation through the inner steps of a meta learner is not counted.
    """
    replay = min(run.config.replay, run.config.memory)
    plain, perturbed = run.learner.gradients(run.config.batch_size, replay)
    # A policy logs the fraction of its steps that were sharpness-aware; the others always are.
    applied = np.average(
        [record.get("train_applied", 1.0) for record in history],
        weights=[run.steps_per_epoch[int(record["task"]) - 1] for record in history],
    )
    return plain + float(applied) * run.method.extra_gradients * perturbed


def summary(run: ContinualRun, result: dict[str, Any], workdir: Path) -> str:
    """One-line summary of a finished run."""
    seconds = run_dir.total_seconds(workdir)
    label = METRICS[f"{result['evaluated_on']}_accuracy"].label
    return (
        f"{run.title}: average {label} {result['average_accuracy']:.2%}, forgetting "
        f"{result['forgetting']:.2%}, learning accuracy {result['learning_accuracy']:.2%} after "
        f"{run.stream.tasks} tasks and {seconds:.1f} s; written to {workdir}"
    )
