"""Compares the methods on scikit-learn's digits with a fifth of the training labels wrong.

Three seeds each; a table and a figure at the end::

    python -m experiments.demo --workdir=runs/demo
"""

import time
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from ml_collections import ConfigDict
from tqdm import tqdm

from experiments import cli
from experiments.data import Dataset
from experiments.data import pipeline as feeds
from experiments.methods.table import method
from experiments.reporting.curves import Panel, plot_curves
from experiments.reporting.tables import Result, markdown_table, write_json
from experiments.training.setup import compiled, fetch_metrics, make_program, run_epochs

SEEDS = 3

# Chosen, like the rates in configs/digits.py, on a fifth of the training set held out
# (--config.validation=0.2), never on the test set; one rho for SAM and Lookbehind-SAM (k = 2), one
# for the ASAM kinds. Validation accuracy, %, mean of three seeds, from the papers' rho upwards:
#   rho              0.05   0.1    0.2       rho               0.5    1      2
#   SAM              96.06  96.30  95.49     ASAM              95.60  95.83  94.56
#   Lookbehind-SAM   95.02  96.64  97.11     Lookbehind-ASAM   95.60  96.88  95.60
# By the name in table and figure, what each row changes in the config.
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

_PANELS = [
    Panel("test_accuracy", "test accuracy, %", scale=100),
    Panel("train_loss", "training loss, on the noisy labels"),
]


def main(config: ConfigDict, workdir: Path | None) -> None:
    """Runs every row on top of ``config`` and reports them in ``workdir``."""
    workdir = workdir or Path("runs") / "demo"
    with cli.user_errors():
        workdir.mkdir(parents=True, exist_ok=True)
        dataset = feeds.load(config)
        configs = {name: with_changes(config, changes) for name, changes in ROWS.items()}
        total = sum(SEEDS * c.epochs * _epoch_gradients(c, dataset) for c in configs.values())
    with tqdm(total=total, unit=" gradients", unit_scale=True) as bar:
        results = [train_seeds(name, c, dataset, bar) for name, c in configs.items()]

    table = markdown_table(results)
    figure = workdir / "curves.png"
    (workdir / "results.md").write_text(table + "\n", encoding="utf-8")
    write_json(workdir / "results.json", results)
    print(f"\n{table}\n\nMean ± standard deviation over {SEEDS} seeds, after the last epoch.")
    plot_curves(figure, {result.name: result.curves for result in results}, _PANELS)
    print(f"Figure: {figure}")


def with_changes(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """A copy of the config with some keys set."""
    config = deepcopy(config)
    config.update(changes)
    return config


def train_seeds(name: str, config: ConfigDict, dataset: Dataset, bar: tqdm) -> Result:
    """Trains one method with every seed, one after the other, with one compiled program.

    Not side by side under ``jax.vmap``: that makes grouped convolutions, 2 to 3 times slower here
    on a CPU, and turns a ``lax.cond`` that skips gradients into one that takes both branches.
    """
    started = time.perf_counter()
    with cli.user_errors():
        program = compiled(make_program(config, dataset))
    steps = config.epochs * feeds.steps_per_epoch(config, len(dataset.train.labels))
    curves, ascents = [], []
    for seed in range(config.seed, config.seed + SEEDS):
        curve = []
        for epoch in run_epochs(program, dataset, seed, config.epochs):
            curve.append(fetch_metrics(epoch))
            bar.set_description(f"{name}, seed {seed}: test {curve[-1]['test_accuracy']:.1%}")
            bar.update(_epoch_gradients(config, dataset))
        curves.append(curve)
        # A policy counts the steps on which it took the ascent; the others always do.
        ascents.append(optax.tree.get(epoch.state.opt_state, "applied", steps))
    per_ascent = method(config.method).extra_gradients
    shares = np.array(jax.device_get(ascents)) / steps if per_ascent else np.zeros(SEEDS)
    return Result(
        name,
        {m: np.array([[e[m] for e in curve] for curve in curves]) for m in curves[0][0]},
        applied=shares,
        gradients=1 + shares.mean().item() * per_ascent,
        seconds=time.perf_counter() - started,
    )


def _epoch_gradients(config: ConfigDict, dataset: Dataset) -> int:
    """Gradients of an epoch in which every step takes the ascent."""
    per_step = 1 + method(config.method).extra_gradients
    return per_step * feeds.steps_per_epoch(config, len(dataset.train.labels))


if __name__ == "__main__":
    cli.run(main)
