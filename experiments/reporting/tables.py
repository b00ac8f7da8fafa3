"""Results of several runs as a table and as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

_SPLITS = {"test_accuracy": "test", "val_accuracy": "validation"}


class Result(NamedTuple):
    """Results of one method over several seeds.

    Attributes:
      name: the method, with its settings.
      curves: by metric, values of shape ``[seed, epoch]``.
      applied: fraction of the training steps that were sharpness-aware, for each seed.
      gradients: gradients per training step, the clean one included.
      seconds: wall-clock time of all seeds, compilation included.
    """

    name: str
    curves: dict[str, np.ndarray]
    applied: np.ndarray
    gradients: float
    seconds: float


def markdown_table(results: Sequence[Result], accuracy: str = "test_accuracy") -> str:
    """A table of the last epoch: mean and standard deviation over seeds.

    Args:
      results: one per row.
      accuracy: name of the accuracy to show, "test_accuracy" or "val_accuracy".
    """
    seeds = len(results[0].curves[accuracy])
    rows = [
        [
            "method",
            f"{_SPLITS[accuracy]} accuracy, %",
            "training loss",
            "%SAM",
            "gradients/step",
            f"s for {seeds} seeds",
        ]
    ]
    for result in results:
        percent = 100 * result.curves[accuracy][:, -1]
        loss = result.curves["train_loss"][:, -1]
        rows.append(
            [
                result.name,
                f"{percent.mean():.2f} ± {percent.std(ddof=1):.2f}",
                f"{loss.mean():.3f}",
                _spread(100 * result.applied),
                f"{result.gradients:.2f}",
                f"{result.seconds:.1f}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    rule = _line(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "\n".join([lines[0], rule, *lines[1:]])


def write_json(path: Path, results: Sequence[Result]) -> None:
    """Writes the results with all their curves."""
    records = [
        result._asdict()
        | {
            "curves": {name: c.tolist() for name, c in result.curves.items()},
            "applied": result.applied.tolist(),
        }
        for result in results
    ]
    path.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def _spread(percent: np.ndarray) -> str:
    """Mean and standard deviation, or a single number if it does not vary between seeds."""
    if np.ptp(percent) == 0:
        return f"{percent[0]:g}"
    return f"{percent.mean():.1f} ± {percent.std(ddof=1):.1f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
