"""Config files by name or path, and look-ups of the names in a config."""

import inspect
import runpy
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from ml_collections import ConfigDict

_FOLDER = Path(__file__).parent

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
    """``" (did you mean 'x'?)"`` with the valid name most similar to ``name``, or ``""``."""
    close = get_close_matches(str(name), list(valid), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def import_function(kind: str, path: str) -> Any:
    """Imports ``package.module:function``, the user's own, or raises a ValueError."""
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (AttributeError, ImportError, ValueError) as error:
        raise ValueError(f"{kind} {path!r} is not a module:function: {error}.") from error


def setups() -> Mapping[str, Path]:
    """The config files of this folder, by name."""
    return {
        path.stem: path
        for path in sorted(_FOLDER.glob("*.py"))
        if path.stem != "base" and "\ndef get_config(" in path.read_text(encoding="utf-8")
    }


def load_config(name: str) -> ConfigDict:
    """Runs the ``get_config`` of a config file, which may be any Python code.

    Args:
      name: a setup of this folder or the path of a file, e.g. ``digits`` or ``my/config.py``; what
        follows a colon, as in ``cifar:aesam``, is the recipe, the argument of ``get_config``.

    Raises:
      ValueError: if there is no such setup or file, or no such recipe.
    """
    file_name, _, recipe = name.partition(":")
    path = setups().get(file_name, Path(file_name))
    if not path.is_file():
        raise ValueError(f"{unknown('config', file_name, setups())} Or the path of a file.")
    get_config = runpy.run_path(str(path)).get("get_config")
    if get_config is None:
        raise ValueError(f"{path} has no function get_config().")
    if recipe and not inspect.signature(get_config).parameters:
        raise ValueError(f"{path} takes no recipe after a colon, got {recipe!r}.")
    return get_config(*([recipe] if recipe else []))
