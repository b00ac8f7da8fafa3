"""Checkpoints of the training state: writing, reading, checksums."""

from experiments.training.checkpoints.reader import (
    Progress,
    kept_epochs,
    read_fields,
    read_history,
    read_newest,
)
from experiments.training.checkpoints.writer import Checkpoints, every

__all__ = [
    "Checkpoints",
    "Progress",
    "every",
    "kept_epochs",
    "read_fields",
    "read_history",
    "read_newest",
]
