"""Draws the curves of several runs into one figure.

For example::

    python -m experiments.plot runs/sgd runs/lookbehind --output=curves.png
"""

import argparse
from pathlib import Path

import numpy as np

from experiments import cli
from experiments.reporting.curves import Panel, plot_curves
from experiments.training import run_dir as workdir

_PANELS = [
    Panel("test_accuracy", "test accuracy, %", scale=100),
    Panel("train_loss", "training loss"),
]


def main() -> None:
    """Reads each run's metrics and writes the figure."""
    parser = argparse.ArgumentParser(prog="python -m experiments.plot", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's workdir")
    parser.add_argument("--output", type=Path, default=Path("curves.png"), help="the figure")
    arguments = parser.parse_args()
    with cli.user_errors():
        curves = {str(run): read_curves(run) for run in arguments.runs}
        plot_curves(arguments.output, curves, _PANELS)
    print(f"Figure: {arguments.output}")


def read_curves(run: Path) -> dict[str, np.ndarray]:
    """A run's metrics by name, each of shape ``[1, epoch]``."""
    lines = workdir.read_lines(run / workdir.METRICS)
    if not lines:
        raise ValueError(f"{run} has no epoch to draw yet.")
    return {panel.metric: np.array([[line[panel.metric] for line in lines]]) for panel in _PANELS}


if __name__ == "__main__":
    main()
