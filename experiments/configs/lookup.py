"""Looking things up by the name that a config gives them."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


def look_up(kind: str, name: str, registry: Mapping[str, T]) -> T:
    """Returns ``registry[name]``, or raises a ValueError that lists the valid names."""
    if name not in registry:
        raise ValueError(unknown(kind, name, registry))
    return registry[name]


def unknown(kind: str, name: object, valid: Iterable[str]) -> str:
    """The message for a name that is not valid: the nearest one, and all of them."""
    names = sorted(valid)
    return f"unknown {kind} {name!r}{near_miss(name, names)}; valid ones: {', '.join(names)}."


def near_miss(name: object, valid: Iterable[str]) -> str:
    """``", did you mean 'x'?"`` for the valid name that is most like ``name``, if one is."""
    close = get_close_matches(str(name), list(valid), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
