"""The catalogue names what the library has, and points to sections that exist."""

import pathlib
import re

import optax_lookbehind as ol

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "catalogue.md").read_text(encoding="utf-8")


def test_every_method_is_in_the_catalogue():
    modules = ("._aliases.", "._momentum_sam", "._wsam_decoupled")
    methods = {
        name
        for name in ol.__all__
        if callable(getattr(ol, name))
        and name.islower()
        and any(module in getattr(ol, name).__module__ for module in modules)
    }
    assert methods - {"momentum_sam_eval_params"} <= set(re.findall(r"`(\w+)\(", PAGE)) | {"sam"}


def test_what_it_calls_exists():
    called = {name for code in re.findall(r"`([^`]*)`", PAGE) for name in called_in(code)}
    assert len(called) > 25
    assert called <= set(ol.__all__)


def called_in(code):
    return re.findall(r"(?<![.\w])(\w+)\(", code)


def slug(heading):
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_sections_it_points_to_exist():
    links = re.findall(r"\]\(([\w-]+\.md)(?:#([\w-]+))?\)", PAGE)
    assert len(links) > 15
    for page, anchor in links:
        headings = re.findall(r"^#+ (.*)$", (DOCS / page).read_text(encoding="utf-8"), re.M)
        assert not anchor or anchor in map(slug, headings), (page, anchor)
