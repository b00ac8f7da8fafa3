"""The site: every public name has a page, every alias its arguments; and it builds."""

import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import optax_lookbehind as ol
from optax_lookbehind import sharpness

ROOT = pathlib.Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def functions():
    for module in (ol, sharpness):
        for name in module.__all__:
            if inspect.isfunction(getattr(module, name)):
                yield pytest.param(getattr(module, name), id=name)


def test_every_public_name_has_a_page():
    listed = re.findall(r"^   (\w+)$", REFERENCE, re.M)
    assert sorted(listed) == sorted([*ol.__all__, *sharpness.__all__])


@pytest.mark.parametrize("function", list(functions()))
def test_every_argument_of_a_public_function_is_described(function):
    documentation = inspect.getdoc(function)
    arguments = documentation.partition("\nArgs:\n")[2].partition("\n\n")[0]
    described = re.findall(r"^  \*{0,2}(\w+):", arguments, re.M)
    assert described == list(inspect.signature(function).parameters)


def test_every_page_is_in_the_contents():
    contents = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages - set(re.findall(r"^([\w-]+)$", contents, re.M)) == set()


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path):
    result = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--fresh-env"),
            *("-d", tmp_path / "doctrees", ROOT / "docs", tmp_path / "html"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    page = (tmp_path / "html" / "api" / "optax_lookbehind.lookbehind_sam.html").read_text()
    text = re.sub("<[^>]*>", "", page)
    assert "rho: optax.ScalarOrSchedule" in text
    assert "Union[" not in text
