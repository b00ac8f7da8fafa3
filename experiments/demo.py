"""Compares the methods on scikit-learn's digits with 40% of the training labels wrong.

A table and a figure, in some five minutes on two cores; each method at the setting that is best for
it on held-out data (``recipes/noisy_digits.py``)::

    python -m experiments.demo --workdir=runs/demo
    python -m experiments.demo --search=all    # repeats the choice of the settings; hours
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import optax
from absl import flags
from ml_collections import ConfigDict
from scipy import stats
from tqdm import tqdm

from experiments import cli
from experiments.configs import base
from experiments.configs.base import with_changes
from experiments.configs.lookup import look_up
from experiments.data.pipeline import steps_per_epoch
from experiments.methods.table import method
from experiments.recipes.noisy_digits import FURTHER_ROWS, ROWS, Row
from experiments.recipes.search import search_rows
from experiments.recipes.statistics import paired
from experiments.reporting import charts
from experiments.reporting.curves import draw_curve, zoom
from experiments.reporting.tables import markdown_table, mean_and_std
from experiments.storage import disk
from experiments.tasks.table import load_dataset
from experiments.training.loggers import NullLogger
from experiments.training.metrics import METRICS, Record
from experiments.training.seeds import train_seeds

SEEDS = 5
BASELINE = "SGD"  # the row that the others are compared with

# A control in addition to the tuned methods: SGD at the learning rate of SAM.
CONTROL = {
    "SGD at SAM's rate": {"method": "none", "learning_rate": ROWS["SAM"].chosen["learning_rate"]}
}

_SEARCH = flags.DEFINE_list(
    "search", None, "Choose the settings of these methods again, on held-out data; or: all."
)


class _Progress(NullLogger):
    """Progress bar over the gradients of all methods and seeds."""

    def __init__(self, bar: tqdm, name: str, epoch_gradients: int):
        self._bar, self._name, self._epoch_gradients = bar, name, epoch_gradients

    def end_epoch(self, record: Record) -> None:
        accuracy = _accuracy(record)
        self._bar.set_postfix({self._name: METRICS[accuracy].text(record[accuracy])})
        self._bar.update(self._epoch_gradients)


class MethodResult(NamedTuple):
    """Results of one method over several seeds.

    Attributes:
      name: the method.
      config: its config.
      curves: metric -> values of shape ``[seed, epoch]``.
      applied: fraction of sharpness-aware training steps, for each seed.
      gradients: gradients per training step, including the clean one.
    """

    name: str
    config: ConfigDict
    curves: dict[str, np.ndarray]
    applied: np.ndarray
    gradients: float


def main(config: ConfigDict, workdir: Path | None) -> None:
    """Compares the methods on top of ``config``, or searches their settings."""
    workdir = workdir or Path("runs") / "demo"
    with cli.user_errors():
        workdir.mkdir(parents=True, exist_ok=True)
        if _SEARCH.value:
            trials = search_rows(config, _rows(_SEARCH.value))
            record = {name: [trial._asdict() for trial in row] for name, row in trials.items()}
            text = json.dumps(record, indent=1)
            disk.write_text(workdir / "search.json", text + "\n")
        else:
            compare_methods(config, workdir)


def _rows(names: Sequence[str]) -> Mapping[str, Row]:
    """The rows of those names; all of them for ``["all"]``."""
    known = {**ROWS, **FURTHER_ROWS}
    if list(names) == ["all"]:
        return known
    return {name: look_up("row of the search", name, known) for name in names}


def compare_methods(config: ConfigDict, workdir: Path) -> None:
    """Trains every method with every seed and writes table and figure to ``workdir``."""
    num_examples = len(load_dataset(config).train.labels)
    changes = CONTROL | {name: row.changes(row.chosen) for name, row in ROWS.items()}
    configs = {name: with_changes(config, values) for name, values in changes.items()}
    total = sum(SEEDS * c.epochs * epoch_gradients(c, num_examples) for c in configs.values())
    on_terminal = sys.stderr.isatty()
    with tqdm(total=total, unit=" gradients", unit_scale=True, disable=not on_terminal) as bar:
        train_row = partial(run_seeds, num_examples=num_examples, bar=bar)
        # Networks this small do not use two cores: the methods are trained in parallel.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(train_row, configs, configs.values()))

    baseline = next(result for result in results if result.name == BASELINE)
    table = markdown_table([table_row(result, baseline) for result in results])
    figure = workdir / "curves.png"
    disk.write_text(workdir / "results.md", table + "\n")
    write_json(workdir / "results.json", results)
    print(
        f"\n{table}\n\nMean ± standard deviation over {SEEDS} seeds, after the last epoch; "
        f"difference to {BASELINE}: paired, with its 95% interval."
    )
    draw(results, figure)
    print(f"Figure: {figure}")


def draw(results: Sequence[MethodResult], path: Path) -> None:
    """Draws both accuracies over the epochs, and the last one over gradients per step."""
    accuracy = _accuracy(results[0].curves)
    panels = {accuracy: "test accuracy, %", "train_accuracy": "accuracy on training labels, %"}
    figure, axes = charts.panels([*panels.values(), "accuracy over cost"])
    styles = charts.named_styles([result.name for result in results])
    for axis, (name, label) in zip(axes, panels.items(), strict=False):
        for result in results:
            values = 100 * result.curves[name]
            epochs = np.arange(1, values.shape[1] + 1)
            std = values.std(axis=0, ddof=1)
            draw_curve(axis, epochs, values.mean(axis=0), std, styles[result.name])
        zoom(axis, [100 * result.curves[name] for result in results])
        axis.set(xlabel="epoch", ylabel=label)
    for result in results:
        if result.name in CONTROL:
            continue  # far below the others
        style, values = styles[result.name], 100 * result.curves[accuracy][:, -1]
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        axes[2].errorbar(
            result.gradients,
            values.mean(),
            yerr=(high - low) / 2,
            color=style.color,
            marker=style.marker,
            capsize=3,
        )
    axes[2].set(xlabel="gradients per step", ylabel="test accuracy, %, with its 95% interval")
    charts.legend(figure, styles)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def run_seeds(name: str, config: ConfigDict, *, num_examples: int, bar: tqdm) -> MethodResult:
    """Trains one method with every seed."""
    steps = config.epochs * steps_per_epoch(num_examples, config.batch_size)
    logger = _Progress(bar, name, epoch_gradients(config, num_examples))
    seeds = range(config.seed, config.seed + SEEDS)
    histories, applied = [], []
    for state, history in train_seeds(config, seeds, logger):
        histories.append(history)
        # A policy counts its sharpness-aware steps; without one, all steps are.
        applied.append(optax.tree.get(state.opt_state, "applied", steps))
    if not sys.stderr.isatty():
        print(f"{name}: {SEEDS} seeds trained", file=sys.stderr, flush=True)
    extra_gradients = method(config.method).extra_gradients
    fractions = np.array(applied) / steps if extra_gradients else np.zeros(SEEDS)
    metrics = [name for name in histories[0][0] if name != "epoch"]
    return MethodResult(
        name,
        config,
        {m: np.array([[record[m] for record in h] for h in histories]) for m in metrics},
        applied=fractions,
        gradients=1 + fractions.mean().item() * extra_gradients,
    )


def table_row(result: MethodResult, baseline: MethodResult) -> dict[str, str]:
    """A row of the table: mean and standard deviation over seeds."""
    name = _accuracy(result.curves)
    metric, values = METRICS[name], result.curves[name]
    return {
        "method": result.name,
        "setting": _setting(result.config),
        metric.heading: mean_and_std(metric.scale * values[:, -1], 2),
        f"difference to {baseline.name}": _difference(
            metric.scale * (values - baseline.curves[name])[:, -1]
        ),
        "best epoch": mean_and_std(metric.scale * values.max(axis=1), 2),
        "training accuracy, %": mean_and_std(100 * result.curves["train_accuracy"][:, -1], 1),
        "%SAM": mean_and_std(100 * result.applied, 1),
        "gradients/step": f"{result.gradients:.2f}",
    }


def _setting(config: ConfigDict) -> str:
    """Learning rate, weight decay if it was searched, and the method's arguments."""
    parts = [f"rate {config.learning_rate:g}"]
    if config.weight_decay != base.get_config().weight_decay:
        parts.append(f"weight decay {config.weight_decay:g}")
    arguments = config.method.partition(":")[2]
    return ", ".join(parts + [a.replace("=", " = ") for a in arguments.split(",") if a])


def _difference(values: np.ndarray) -> str:
    """Mean of paired differences with its 95% interval."""
    if not values.any():
        return ""
    comparison = paired(values)
    if comparison.interval is None:  # a single seed
        return f"{comparison.difference:+.2f}"
    low, high = comparison.interval
    return f"{comparison.difference:+.2f} [{low:+.2f}, {high:+.2f}]"


def write_json(path: Path, results: Sequence[MethodResult]) -> None:
    """Writes the results with all curves."""
    records = [
        result._asdict()
        | {
            "config": result.config.to_dict(),
            "curves": {name: curve.tolist() for name, curve in result.curves.items()},
            "applied": result.applied.tolist(),
        }
        for result in results
    ]
    disk.write_text(path, json.dumps(records, indent=1) + "\n")


def _accuracy(metrics: Mapping[str, Any]) -> str:
    """The name of the evaluated accuracy: of the held-out examples, if there are any."""
    return "val_accuracy" if "val_accuracy" in metrics else "test_accuracy"


def epoch_gradients(config: ConfigDict, num_examples: int) -> int:
    """Gradients of an epoch in which every step is sharpness-aware."""
    per_step = 1 + method(config.method).extra_gradients
    return per_step * steps_per_epoch(num_examples, config.batch_size)


if __name__ == "__main__":
    cli.run(main, default="noisy_digits")
