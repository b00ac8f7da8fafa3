"""How results were made: with what command, when, and with what versions."""

import datetime
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from typing import NamedTuple

_PACKAGES = ("flax", "jax", "jaxlib", "optax", "optax-lookbehind", "orbax-checkpoint")


class Provenance(NamedTuple):
    """How results were made.

    Attributes:
      command: the command line.
      date: the day, as in 2026-11-21.
      versions: package -> version.
    """

    command: str
    date: str
    versions: dict[str, str]

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.date}, {versions}: {self.command}"


def provenance(module: str, arguments: Sequence[str]) -> Provenance:
    """That of ``python -m MODULE ARGUMENTS``, run now."""
    command = shlex.join(["python", "-m", module, *arguments])
    return Provenance(command, datetime.date.today().isoformat(), installed_versions())


def installed_versions() -> dict[str, str]:
    """Package -> version, of the packages on which results depend."""
    return {name: version(name) for name in _PACKAGES}
