"""Config files by name or path, and look-ups of the names in a config."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ml_collections import ConfigDict

_FOLDER = Path(__file__).parent

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


def call(kind: str, name: str, function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Calls a function that a config names.

    Raises:
      ValueError: if it does not take these arguments. Its own errors are raised as they are.
    """
    try:
        return function(*args, **options)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise  # raised within the function
        raise ValueError(f"{kind} {name!r} cannot be called: {error}.") from error


def unknown(kind: str, name: object, valid: Iterable[str]) -> str:
    """The message for a name that is not valid: the nearest one, and all of them."""
    names = sorted(valid)
    return f"unknown {kind} {name!r}{near_miss(name, names)}; valid ones: {', '.join(names)}."


def near_miss(name: object, valid: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` with the valid name most similar to ``name``, or ``""``."""
    close = get_close_matches(str(name), list(valid), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def setups() -> Mapping[str, Path]:
    """The config files of this folder, by name."""
    files = sorted(_FOLDER.glob("*.py"))
    return {
        path.stem: path
        for path in files
        if path.stem != "base" and "\ndef get_config(" in path.read_text(encoding="utf-8")
    }


def load_config(name: str) -> ConfigDict:
    """Runs the ``get_config`` of a config file, which may be any Python code.

    Args:
      name: a setup of this folder or the path of a file, e.g. ``digits`` or ``my/config.py``; what
        follows a colon, as in ``cifar:aesam``, is the recipe, the argument of ``get_config``.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if it has no ``get_config`` that returns a ``ConfigDict``, or raises an error
        itself; the message has its path.
    """
    file_name, colon, recipe = name.partition(":")
    path = _path(file_name)
    module = _import(path)
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise ValueError(f"{path} has no function get_config().")
    if colon and not inspect.signature(get_config).parameters:
        raise ValueError(f"{path} takes no recipe after a colon, got {recipe!r}.")
    try:
        config = get_config(*([recipe] if colon else []))
    except (Exception, SystemExit) as error:  # the file may do anything
        raise ValueError(_describe(path, error)) from error
    if not isinstance(config, ConfigDict):
        raise ValueError(f"{path}: get_config() must return a ConfigDict, got {config!r}.")
    return config


def _path(name: str) -> Path:
    path = Path(name)
    if name and (path.suffix or path.exists()):
        return path
    if name not in setups():
        raise ValueError(unknown("config", name, setups()))
    return setups()[name]


def _import(path: Path) -> ModuleType:
    loader = SourceFileLoader("config_file", str(path))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None  # None only without a loader
    module = module_from_spec(spec)
    try:
        loader.exec_module(module)
    except OSError:
        raise
    except (Exception, SystemExit) as error:
        raise ValueError(_describe(path, error)) from error
    return module


def _describe(path: Path, error: BaseException) -> str:
    """The error in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError):  # by design: the file checks its recipe
        return f"{path}: {text}"
    return f"{path}: {type(error).__name__}: {text}"
