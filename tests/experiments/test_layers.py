"""Imports go one way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# From below: a module may import from its own folder and from lower layers.
LAYERS = [
    {"configs", "reporting", "parallel"},
    {"models", "data", "methods"},
    {"decoding"},
    {"tasks"},
    {"training"},
    {"analysis", "continual"},
    {"recipes"},
    {"campaign"},
    {"ablations", ""},  # the commands
]
RANK = {folder: rank for rank, folders in enumerate(LAYERS) for folder in folders}
MODULES = sorted((ROOT / "experiments").rglob("*.py"))


def imported(path, package):
    """The dotted names below ``package`` that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == package)


def folder_of(path):
    if path.name == "__main__.py":
        return ""  # a command
    parts = path.relative_to(ROOT / "experiments").parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_runs_up(path):
    own = folder_of(path)
    for name in imported(path, "experiments"):
        target = name.split(".")[1]
        folder = target if (ROOT / "experiments" / target).is_dir() else ""
        assert folder == own or RANK[folder] < RANK[own], f"{path} imports {name}"


def test_the_library_imports_nothing_from_outside():
    for path in (ROOT / "optax_lookbehind").rglob("*.py"):
        assert not list(imported(path, "experiments")), path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_experiments_use_the_public_api_of_the_library(path):
    private = [name for name in imported(path, "optax_lookbehind") if "._" in name]
    assert not private
