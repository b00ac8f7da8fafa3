"""Compares the methods on scikit-learn's digits with a fifth of the training labels wrong.

Three seeds each; a table and a figure at the end::

    python -m experiments.demo --workdir=runs/demo
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optax
from ml_collections import ConfigDict
from tqdm import tqdm

from experiments import cli
from experiments.configs.base import with_changes
from experiments.data.pipeline import steps_per_epoch
from experiments.methods.table import method
from experiments.reporting.curves import Panel, plot_curves
from experiments.reporting.tables import markdown_table, mean_and_std
from experiments.tasks.table import load_dataset
from experiments.training.loggers import NullLogger
from experiments.training.metrics import METRICS, Record
from experiments.training.seeds import train_seeds

SEEDS = 3

# Chosen, like the rates in configs/digits.py, on a fifth of the training set held out
# (--config.validation=0.2), never on the test set; one rho for SAM and Lookbehind-SAM (k = 2), one
# for the ASAM variants. Validation accuracy, %, mean of three seeds, from the papers' rho upwards:
#   rho              0.05   0.1    0.2       rho               0.5    1      2
#   SAM              96.06  96.30  95.49     ASAM              95.60  95.83  94.56
#   Lookbehind-SAM   95.02  96.64  97.11     Lookbehind-ASAM   95.60  96.88  95.60
# Row label -> config overrides.
ROWS: Mapping[str, Mapping[str, Any]] = {
    "SGD": {"method": "none"},
    "SAM": {"method": "sam:rho=0.1"},
    "ASAM": {"method": "asam:rho=1.0"},
    "Lookbehind-SAM (k=2, adaptive)": {"method": "lookbehind_sam:k=2,rho=0.1,alpha=adaptive"},
    "Lookbehind-ASAM (k=2, adaptive)": {"method": "lookbehind_asam:k=2,rho=1.0,alpha=adaptive"},
    "Lookbehind-SAM (k=5, alpha=0.5)": {"method": "lookbehind_sam:k=5,rho=0.1,alpha=0.5"},
    "AE-SAM": {"method": "ae_sam:rho=0.1"},
    "AE-LookSAM": {"method": "ae_looksam:rho=0.1"},
    # In front of SGD Lookbehind emits about k gradients: the rate is divided by k
    # (experiments/ablations/ae_lookbehind_scale.py).
    "AE-Lookbehind-SAM (k=2, adaptive)": {
        "method": "ae_lookbehind_sam:k=2,rho=0.1,alpha=adaptive",
        "learning_rate": 0.015,
    },
}


class _Progress(NullLogger):
    """Progress bar over the gradients of all rows and seeds."""

    def __init__(self, bar: tqdm, epoch_gradients: int):
        self._bar, self._epoch_gradients = bar, epoch_gradients

    def end_epoch(self, record: Record) -> None:
        accuracy = _accuracy(record)
        self._bar.set_postfix({accuracy: METRICS[accuracy].text(record[accuracy])})
        self._bar.update(self._epoch_gradients)


class MethodResult(NamedTuple):
    """Results of one method over several seeds.

    Attributes:
      name: the method, with its settings.
      curves: metric -> values of shape ``[seed, epoch]``.
      applied: fraction of sharpness-aware training steps, for each seed.
      gradients: gradients per training step, including the clean one.
      seconds: wall-clock time of all seeds, including compilation.
    """

    name: str
    curves: dict[str, np.ndarray]
    applied: np.ndarray
    gradients: float
    seconds: float


def main(config: ConfigDict, workdir: Path | None) -> None:
    """Trains every row on top of ``config`` and writes table and figure to ``workdir``."""
    workdir = workdir or Path("runs") / "demo"
    with cli.user_errors():
        workdir.mkdir(parents=True, exist_ok=True)
        num_examples = len(load_dataset(config).train.labels)
        configs = {name: with_changes(config, changes) for name, changes in ROWS.items()}
        total = sum(SEEDS * c.epochs * epoch_gradients(c, num_examples) for c in configs.values())
    with tqdm(total=total, unit=" gradients", unit_scale=True) as bar:
        results = [run_seeds(name, c, num_examples, bar) for name, c in configs.items()]

    accuracy = _accuracy(results[0].curves)
    table = markdown_table([table_row(result) for result in results])
    figure = workdir / "curves.png"
    (workdir / "results.md").write_text(table + "\n", encoding="utf-8")
    write_json(workdir / "results.json", results)
    print(f"\n{table}\n\nMean ± standard deviation over {SEEDS} seeds, after the last epoch.")
    panels = [
        Panel(accuracy, METRICS[accuracy].heading, METRICS[accuracy].scale),
        Panel("train_loss", "training loss, on the noisy labels"),
    ]
    plot_curves(figure, {result.name: result.curves for result in results}, panels)
    print(f"Figure: {figure}")


def run_seeds(name: str, config: ConfigDict, num_examples: int, bar: tqdm) -> MethodResult:
    """Trains one row with every seed."""
    started = time.perf_counter()
    bar.set_description(name)
    steps = config.epochs * steps_per_epoch(num_examples, config.batch_size)
    logger = _Progress(bar, epoch_gradients(config, num_examples))
    seeds = range(config.seed, config.seed + SEEDS)
    histories, applied = [], []
    with cli.user_errors():
        for state, history in train_seeds(config, seeds, logger):
            histories.append(history)
            # A policy counts its sharpness-aware steps; without one, all steps are.
            applied.append(optax.tree.get(state.opt_state, "applied", steps))
    extra_gradients = method(config.method).extra_gradients
    fractions = np.array(applied) / steps if extra_gradients else np.zeros(SEEDS)
    metrics = [name for name in histories[0][0] if name != "epoch"]
    return MethodResult(
        name,
        {m: np.array([[record[m] for record in h] for h in histories]) for m in metrics},
        applied=fractions,
        gradients=1 + fractions.mean().item() * extra_gradients,
        seconds=time.perf_counter() - started,
    )


def table_row(result: MethodResult) -> dict[str, str]:
    """A row of the table: the last epoch, mean and standard deviation over seeds."""
    name = _accuracy(result.curves)
    metric, values = METRICS[name], result.curves[name][:, -1]
    return {
        "method": result.name,
        metric.heading: mean_and_std(metric.scale * values, 2),
        "training loss": f"{result.curves['train_loss'][:, -1].mean():.3f}",
        "%SAM": mean_and_std(100 * result.applied, 1),
        "gradients/step": f"{result.gradients:.2f}",
        f"s for {len(values)} seeds": f"{result.seconds:.1f}",
    }


def write_json(path: Path, results: Sequence[MethodResult]) -> None:
    """Writes the results with all curves."""
    records = [
        result._asdict()
        | {
            "curves": {name: curve.tolist() for name, curve in result.curves.items()},
            "applied": result.applied.tolist(),
        }
        for result in results
    ]
    path.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def _accuracy(metrics: Mapping[str, Any]) -> str:
    """The name of the evaluated accuracy: of the held-out examples, if there are any."""
    return "val_accuracy" if "val_accuracy" in metrics else "test_accuracy"


def epoch_gradients(config: ConfigDict, num_examples: int) -> int:
    """Gradients of an epoch in which every step is sharpness-aware."""
    per_step = 1 + method(config.method).extra_gradients
    return per_step * steps_per_epoch(num_examples, config.batch_size)


if __name__ == "__main__":
    cli.run(main)
