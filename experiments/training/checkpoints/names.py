"""Names of checkpoints: ``3`` after three epochs, ``3+250`` after 250 more steps."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import orbax.checkpoint as ocp
from etils import epath


class Position(NamedTuple):
    """How far a run has come.

    Attributes:
      epochs: number of finished epochs.
      steps: number of finished steps of the epoch after them; 0 at the end of an epoch.
    """

    epochs: int
    steps: int = 0

    @property
    def begun(self) -> int:
        """Number of epochs that are finished or begun."""
        return self.epochs + (self.steps > 0)

    @property
    def and_steps(self) -> str:
        """The steps in a sentence, after the epochs; empty at the end of an epoch."""
        return f" and {self.steps} steps" if self.steps else ""

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The position in the name of a checkpoint, None for another name."""
        match = re.fullmatch(r"(0|[1-9][0-9]*)(?:\+([1-9][0-9]*))?", name)
        return cls(int(match[1]), int(match[2] or 0)) if match else None

    def __str__(self) -> str:
        return f"{self.epochs}+{self.steps}" if self.steps else str(self.epochs)


def entries(folder: Path) -> list[Position]:
    """The positions of all entries of a folder that are named like a checkpoint, ascending."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(filter(None, map(Position.parse, names)))


def kept_epochs(folder: Path) -> list[int]:
    """The epochs of the complete checkpoints in a folder, ascending; not those within an epoch."""
    return [p.epochs for p in entries(folder) if not p.steps and (folder / str(p)).is_dir()]


@dataclass(frozen=True)
class NameFormat:
    """These names for Orbax, which numbers checkpoints by the steps of the whole run."""

    steps_per_epoch: int

    def number(self, position: Position) -> int:
        """Orbax's number of a checkpoint."""
        return position.epochs * self.steps_per_epoch + position.steps

    def build_name(self, step: int) -> str:
        """The name of the checkpoint with Orbax's number ``step``."""
        return str(Position(*divmod(step, self.steps_per_epoch)))

    def find_all(self, base_path: epath.PathLike) -> Iterator[ocp.path.step.Metadata]:
        """All complete checkpoints in a folder."""
        folder = epath.Path(base_path)
        for position in entries(Path(folder)):
            if (path := folder / str(position)).is_dir():
                yield ocp.path.step.Metadata(self.number(position), path)

    def find_step(self, base_path: epath.PathLike, step: int) -> ocp.path.step.Metadata:
        """The complete checkpoint with this number; ValueError without one."""
        path = epath.Path(base_path) / self.build_name(step)
        if not path.is_dir():
            raise ValueError(f"{path} is missing")
        return ocp.path.step.Metadata(step, path)
