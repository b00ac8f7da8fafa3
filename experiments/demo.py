"""Compares the methods on scikit-learn's digits with 40% of the training labels wrong.

A table and a figure, in some five minutes on two cores; each method at the setting that is best for
it on held-out data (``papers/comparison/chosen.json``)::

    python -m experiments.demo --workdir=runs/demo
"""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from experiments import cli
from experiments.configs import base
from experiments.configs.base import with_changes
from experiments.data.pipeline import steps_per_epoch
from experiments.methods.table import method
from experiments.papers.comparison.methods import DEMO, chosen
from experiments.results import figures, metrics, stats, tables
from experiments.results.markdown import markdown_table
from experiments.results.metrics import FinishedRun
from experiments.results.page import write_json
from experiments.results.table import Table, pack
from experiments.storage import disk
from experiments.tasks.table import load_dataset
from experiments.training.loggers import NullLogger
from experiments.training.metrics import METRICS, Record
from experiments.training.seeds import train_seeds

SEEDS = 5
BASELINE = "SGD"  # the row that the others are compared with
CONTROL = "SGD at SAM's rate"  # in addition to the tuned methods


class Trained(NamedTuple):
    """A method trained with several seeds.

    Attributes:
      label: its name in table and figure.
      config: its config.
      table: its metrics and curves.
      gradients: gradients of a training step, the clean one included.
    """

    label: str
    config: ConfigDict
    table: Table
    gradients: float


class _Progress(NullLogger):
    """Progress bar over the gradients of all methods and seeds."""

    def __init__(self, bar: tqdm, label: str, epoch_gradients: int):
        self._bar, self._label, self._epoch_gradients = bar, label, epoch_gradients

    def end_epoch(self, record: Record) -> None:
        accuracy = _accuracy(record)
        self._bar.set_postfix({self._label: METRICS[accuracy].text(record[accuracy])})
        self._bar.update(self._epoch_gradients)


def main(config: ConfigDict, workdir: Path | None) -> None:
    """Compares the methods on top of ``config``."""
    workdir = workdir or Path("runs") / "demo"
    with cli.user_errors():
        workdir.mkdir(parents=True, exist_ok=True)
        compare(config, workdir)


def compare(config: ConfigDict, workdir: Path) -> None:
    """Trains every method with every seed and writes table and figure to ``workdir``."""
    num_examples = len(load_dataset(config).train.labels)
    configs = {label: with_changes(config, changes) for label, changes in rows().items()}
    total = sum(SEEDS * c.epochs * _epoch_gradients(c, num_examples) for c in configs.values())
    on_terminal = sys.stderr.isatty()
    with tqdm(total=total, unit=" gradients", unit_scale=True, disable=not on_terminal) as bar:
        train_row = partial(train, num_examples=num_examples, bar=bar)
        # Networks this small do not use two cores: the methods are trained in parallel.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            trained = list(pool.map(train_row, configs, configs.values()))
    baseline = next(each for each in trained if each.label == BASELINE)
    table = markdown_table([table_row(each, baseline) for each in trained])
    disk.write_text(workdir / "results.md", table + "\n")
    records = [
        each._asdict() | {"config": each.config.to_dict(), "table": pack(each.table)}
        for each in trained
    ]
    write_json(workdir / "results.json", records)
    print(
        f"\n{table}\n\nMean ± standard deviation over {SEEDS} seeds, after the last epoch; "
        f"difference to {BASELINE}: paired, with its 95% interval."
    )
    figure, *_ = draw(trained, workdir)
    print(f"Figure: {figure}")


def rows() -> dict[str, Mapping[str, Any]]:
    """The config's keys of each row: the control, and every method at its chosen setting."""
    choices = {method(each.changes["method"]).title("sgd"): each for each in chosen(DEMO)}
    rate = choices["SAM"].setting["learning_rate"]
    control = {CONTROL: {"method": "none", "learning_rate": rate}}
    return control | {label: choice.changes for label, choice in choices.items()}


def train(label: str, config: ConfigDict, *, num_examples: int, bar: tqdm) -> Trained:
    """Trains one method with every seed."""
    logger = _Progress(bar, label, _epoch_gradients(config, num_examples))
    seeds = range(config.seed, config.seed + SEEDS)
    values = Table()
    for seed, (_, history) in zip(seeds, train_seeds(config, seeds, logger), strict=True):
        accuracy = _accuracy(history[-1])
        run = FinishedRun(config, history, history[-1], {})
        for metric in (
            metrics.last(accuracy),
            metrics.best(accuracy),
            metrics.last("train_accuracy"),
            metrics.percent_sam(),
            *map(metrics.curve, (accuracy, "train_accuracy", "train_loss")),
        ):
            values += metric.rows(run).with_columns(seed=seed)
    if not sys.stderr.isatty():
        print(f"{label}: {SEEDS} seeds trained", file=sys.stderr, flush=True)
    applied = float(np.mean(list(values.by_seed("percent_sam").values()))) / 100
    return Trained(label, config, values, method(config.method).gradients_per_step(applied))


def table_row(each: Trained, baseline: Trained) -> dict[str, str]:
    """A row of the table: mean and standard deviation over seeds."""
    accuracy = _accuracy(each.table.distinct("metric"))
    mine, others = each.table.by_seed(accuracy), baseline.table.by_seed(accuracy)
    difference = stats.compare(mine, others)

    def mean_and_std(metric: str, decimals: int) -> str:
        return tables.mean_and_std(list(each.table.by_seed(metric).values()), decimals)

    return {
        "method": each.label,
        "setting": _setting(each.config),
        METRICS[accuracy].heading: mean_and_std(accuracy, 2),
        f"difference to {baseline.label}": tables.difference(difference, 2)
        if difference and mine != others
        else "",
        "best epoch": mean_and_std(f"best_{accuracy}", 2),
        "training accuracy, %": mean_and_std("train_accuracy", 1),
        "%SAM": mean_and_std("percent_sam", 1),
        "gradients/step": f"{each.gradients:.2f}",
    }


def draw(trained: Sequence[Trained], folder: Path) -> list[Path]:
    """Draws both accuracies over the epochs, and the last one over gradients per step."""
    accuracy = _accuracy(trained[0].table.distinct("metric"))
    shown = {accuracy: "test accuracy, %", "train_accuracy": "accuracy on training labels, %"}
    figure, axes = figures.panels([*shown.values(), "accuracy over cost"])
    styles = figures.styles([method(each.config.method).name for each in trained])
    for axis, (name, label) in zip(axes, shown.items(), strict=False):
        curves = [each.table.over("epoch", f"{name}_curve") for each in trained]
        for found, style in zip(curves, styles, strict=True):
            figures.curve(axis, found.x, found.summary, style)
        figures.zoom(axis, [found.values for found in curves])
        axis.set(xlabel="epoch", ylabel=label)
    for each, style in zip(trained, styles, strict=True):
        values = list(each.table.by_seed(accuracy).values())
        if each.label != CONTROL:  # far below the others
            error = stats.half_interval(values)
            figures.bars(axes[2], each.gradients, np.mean(values), style, yerr=error)
    axes[2].set(xlabel="gradients per step", ylabel="test accuracy, %, with its 95% interval")
    labels = [each.label for each in trained]
    figures.legend(figure, dict(zip(labels, styles, strict=True)))
    return figures.save(figure, folder, "curves")


def _setting(config: ConfigDict) -> str:
    """Learning rate, weight decay if it was searched, and the method's arguments."""
    parts = [f"rate {config.learning_rate:g}"]
    if config.weight_decay != base.get_config().weight_decay:
        parts.append(f"weight decay {config.weight_decay:g}")
    arguments = config.method.partition(":")[2]
    return ", ".join(parts + [a.replace("=", " = ") for a in arguments.split(",") if a])


def _accuracy(names: Sequence[str] | Mapping[str, Any]) -> str:
    """The name of the evaluated accuracy: of the held-out examples, if there are any."""
    return "val_accuracy" if "val_accuracy" in names else "test_accuracy"


def _epoch_gradients(config: ConfigDict, num_examples: int) -> int:
    """Gradients of an epoch in which every step is sharpness-aware."""
    steps = steps_per_epoch(num_examples, config.batch_size)
    return round(steps * method(config.method).gradients_per_step(1.0))


if __name__ == "__main__":
    cli.run(main, default="noisy_digits")
