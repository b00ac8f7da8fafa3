"""Looking things up by the name a config gives them."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def look_up(kind: str, name: str, registry: Mapping[str, T]) -> T:
    """Returns ``registry[name]``, or raises a ValueError that lists the names there are."""
    if name not in registry:
        raise ValueError(f"unknown {kind} {name!r}; valid ones: {', '.join(sorted(registry))}.")
    return registry[name]
