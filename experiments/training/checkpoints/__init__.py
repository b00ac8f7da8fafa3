"""Checkpoints of the training state: writing, reading, checksums."""

from experiments.training.checkpoints.reader import (
    Progress,
    kept_epochs,
    read_fields,
    read_history,
    read_newest,
)
from experiments.training.checkpoints.writer import Checkpoints

__all__ = [
    "Checkpoints",
    "Progress",
    "kept_epochs",
    "read_fields",
    "read_history",
    "read_newest",
]
