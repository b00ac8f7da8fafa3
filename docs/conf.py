"""Sphinx configuration of the site: `make docs` builds it into docs/_build/html."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import optax_lookbehind

DOCS = Path(__file__).parent
ROOT = DOCS.parent

project = "optax-lookbehind"
author = "The optax-lookbehind developers"
version = release = optax_lookbehind.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # formulas without a connection
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
highlight_language = "none"  # of indented blocks, which are commands
html_theme = "furo"
html_title = "optax-lookbehind"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_copyright = False

# Notebooks hold their outputs; tests/docs/test_notebooks.py executes them.
nb_execution_mode = "off"
myst_heading_anchors = 4

autodoc_typehints = "none"  # types are in the signature
autosummary_generate = True
maximum_signature_line_length = 80
napoleon_use_ivar = True
napoleon_use_rtype = False

# Pages of the site that are files elsewhere in the repository.
ELSEWHERE = {
    "README.md": "project/readme.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "experiments/README.md": "project/experiments.md",
}
COMMANDS = {
    "experiments.train": "trains one model with one method",
    "experiments.analyze": "measures how flat the minima of finished runs are",
    "experiments.reproduce": "makes tables and figures of both papers",
    "experiments.translate": "translates text with a trained Transformer",
    "experiments.demo": "compares the methods on scikit-learn's digits",
}


def copy_pages(app: Sphinx) -> None:
    """Copies the pages from elsewhere, their links rewritten."""
    (DOCS / "project").mkdir(exist_ok=True)
    for path, page in ELSEWHERE.items():
        source = ROOT / path

        def link(match: re.Match[str], source: Path = source) -> str:
            if re.match(r"[a-z]+:|#", match[1]):
                return match[0]
            target, _, anchor = match[1].partition("#")
            place = os.path.relpath(source.parent / target, ROOT)
            place = f"docs/{ELSEWHERE[place]}" if place in ELSEWHERE else place
            relative = os.path.relpath(ROOT / place, DOCS / "project")
            return f"]({relative}{'#' if anchor else ''}{anchor})"

        text = re.sub(r"\]\(([^)\s]+)\)", link, source.read_text(encoding="utf-8"))
        _write(DOCS / page, text)


def describe_commands(app: Sphinx) -> None:
    """Writes the reference of the command line from ``--help`` of each command."""
    parts = ["# The command line\n"]
    for command, summary in COMMANDS.items():
        text = subprocess.run(
            [sys.executable, "-m", command, "--help"],
            capture_output=True,
            check=True,
            cwd=ROOT,
            encoding="utf-8",
            env=os.environ | {"JAX_PLATFORMS": "cpu", "COLUMNS": "100"},
        ).stdout
        parts.append(f"\n## `python -m {command}`\n\n{summary.capitalize()}.\n")
        parts.append(f"\n```text\n{text.strip()}\n```\n")
    _write(DOCS / "project" / "command-line.md", "".join(parts))


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:  # an unchanged page stays old
        path.write_text(text, encoding="utf-8")


def link_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """Turns links to files elsewhere into links to their copies."""
    if not name.startswith("project/"):
        up = "../" * (name.count("/") + 1)
        for path, page in ELSEWHERE.items():
            source[0] = source[0].replace(up + path, up[3:] + page)


def signature(
    app: Sphinx, what: str, name: str, obj: object, options: object, text: str, returns: str
) -> tuple[str, str] | None:
    """The signature as it is written, `optax.ScalarOrSchedule` and not what this stands for."""
    if not inspect.isfunction(obj):
        return None
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(obj))).body
    assert isinstance(node, ast.FunctionDef)
    return f"({ast.unparse(node.args)})", ast.unparse(node.returns) if node.returns else ""


def alias(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """The documentation of a type, which stands behind its definition."""
    if what == "data":
        types = importlib.import_module("optax_lookbehind._core.types")
        documented = ModuleAnalyzer.for_module(types.__name__).find_attr_docs()
        lines[:] = documented.get(("", name.rpartition(".")[2]), lines)


def setup(app: Sphinx) -> None:
    """Connects the functions above."""
    app.connect("builder-inited", copy_pages, priority=1)
    app.connect("builder-inited", describe_commands, priority=1)
    app.connect("source-read", link_pages)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", alias, priority=1)
