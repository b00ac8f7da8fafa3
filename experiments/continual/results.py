"""Results of a lifelong run: ``continual.json``, and figures of the accuracies."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments.continual.scores import scores
from experiments.data.pipeline import Pipeline
from experiments.data.task_stream import split_name
from experiments.methods.table import method
from experiments.storage import disk
from experiments.tasks.continual.learners import gradients_per_step, title
from experiments.training import run_dir
from experiments.training.metrics import METRICS, Record

RESULT = "continual.json"
ACCURACIES, MATRIX = "accuracies.png", "accuracy_matrix.png"


def write(config: ConfigDict, pipeline: Pipeline, history: Sequence[Record], workdir: Path) -> None:
    """Writes the results of a finished run."""
    from experiments.continual import figures  # matplotlib: not before a run has ended

    stream, bound = pipeline.info, method(config.method)
    split = "test" if "test" in stream.evaluation else "val"
    matrix = accuracy_matrix(history, split, stream.tasks)
    # A policy logs the fraction of its steps that were sharpness-aware; the others always are.
    applied = np.average(
        [record.get("train_applied", 1.0) for record in history],
        weights=np.diff([pipeline.steps(epochs) for epochs in range(len(history) + 1)]),
    )
    result: dict[str, Any] = {
        "evaluated_on": split,
        **scores(matrix),
        "accuracy_matrix": matrix.tolist(),
        "gradients_per_step": gradients_per_step(config, float(applied)),
        "title": title(config, bound),
        "learner": config.learner,
        "method": str(bound),
        "memory": config.memory,
        "seed": config.seed,
        "class_order": stream.class_order,
    }
    if len(stream.evaluation) > 1:
        held_out = accuracy_matrix(history, "val", stream.tasks)
        result |= {f"val_{name}": score for name, score in scores(held_out).items()}
    figures.accuracies(workdir / ACCURACIES, matrix, result["title"])
    figures.heat_map(workdir / MATRIX, matrix, result["title"])
    # Last: a file of this name means that the run is finished.
    disk.write_text(workdir / RESULT, json.dumps(result, indent=1) + "\n")


def accuracy_matrix(history: Sequence[Record], split: str, tasks: int) -> np.ndarray:
    """Accuracy on each task after the last epoch of each task, ``[trained task, task]``."""
    names = [f"{split_name(split, task)}_accuracy" for task in range(tasks)]
    return np.array([[record[n] for n in names] for record in history if names[0] in record])


def summary(workdir: Path) -> str:
    """One-line summary of a finished run."""
    result, seconds = run_dir.read_json(workdir / RESULT), run_dir.total_seconds(workdir)
    label = METRICS[f"{result['evaluated_on']}_accuracy"].label
    return (
        f"{result['title']}: average {label} {result['average_accuracy']:.2%}, forgetting "
        f"{result['forgetting']:.2%}, learning accuracy {result['learning_accuracy']:.2%} after "
        f"{len(result['accuracy_matrix'])} tasks and {seconds:.1f} s; written to {workdir}"
    )
