"""Checkpoints of the training state: writing, reading, checksums."""

from experiments.training.checkpoints.names import Position, entries, kept_epochs
from experiments.training.checkpoints.reader import (
    Progress,
    read_fields,
    read_history,
    read_newest,
)
from experiments.training.checkpoints.schedule import every
from experiments.training.checkpoints.writer import Checkpoints

__all__ = [
    "Checkpoints",
    "Position",
    "Progress",
    "entries",
    "every",
    "kept_epochs",
    "read_fields",
    "read_history",
    "read_newest",
]
