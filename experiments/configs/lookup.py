"""Looking things up by the name that a config gives them."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")


def look_up(kind: str, name: str, registry: Mapping[str, T]) -> T:
    """Returns ``registry[name]``, or raises a ValueError that lists the valid names."""
    if name not in registry:
        raise ValueError(unknown(kind, name, registry))
    return registry[name]


def import_function(kind: str, path: str) -> Any:
    """Imports ``package.module:function``, the user's own.

    Raises:
      ValueError: if there is no such module or it has no such function.
    """
    module_name, _, name = path.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise  # an import within that module
        raise ValueError(f"{kind} {path!r}: there is no module {module_name!r}.") from error
    except ValueError as error:  # an empty module name
        raise ValueError(f"{kind} must be a name or module:function, got {path!r}.") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(
            f"{kind} {path!r}: {module.__file__} has no function {name!r}"
            f"{near_miss(name, vars(module))}."
        )
    return function


def unknown(kind: str, name: object, valid: Iterable[str]) -> str:
    """The message for a name that is not valid: the nearest one, and all of them."""
    names = sorted(valid)
    return f"unknown {kind} {name!r}{near_miss(name, names)}; valid ones: {', '.join(names)}."


def near_miss(name: object, valid: Iterable[str]) -> str:
    """``", did you mean 'x'?"`` for the valid name that is most like ``name``, if one is."""
    close = get_close_matches(str(name), list(valid), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
