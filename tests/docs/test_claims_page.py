"""Every number on the page of the papers' claims is that of the committed results."""

import json
import pathlib
import re
from functools import cache

import numpy as np
import pytest
from scipy import stats

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PAGE, SOURCES = (DOCS / "papers" / "claims.md").read_text(encoding="utf-8").split("\n## Sources\n")
ROWS = [line.strip("| ").split(" | ") for line in SOURCES.splitlines() if line.startswith("| ")][1:]
NUMBER = r"[+-]?\d+\.\d+ (?:± \d+\.\d+|\[[^\]]*\])"


@cache
def rows_of(result):
    return json.loads((DOCS / "results" / "laptop" / f"{result}.json").read_text())["rows"]


def values(result, label, panel, metric):
    """One number for each seed: ``metric``, ``metric[2]`` or the mean of ``metric[0:10]``."""
    (found,) = [
        row["values"] for row in rows_of(result) if row["label"] == label and panel in row["panel"]
    ]
    name, start, stop = re.fullmatch(r"(\w+)(?:\[(\d+)(?::(\d+))?\])?", metric).groups()
    by_seed = {}
    for seed, value in zip(found[name]["seed"], found[name]["value"], strict=True):
        by_seed.setdefault(seed, []).append(value)
    if start is None:
        return {seed: value for seed, (value,) in by_seed.items()}
    part = slice(int(start), int(stop or int(start) + 1))
    return {seed: np.mean(curve[part]) for seed, curve in by_seed.items()}


def number(result, rows, quantity, decimals):
    """The mean with its deviation, or the paired difference with its interval."""
    names, _, column = rows.partition(" @ ")
    first, _, second = names.partition(" minus ")
    one, _, other = quantity.partition(" minus ")
    mine = values(result, first, column, one)
    if not second and not other:
        numbers = list(mine.values())
        return f"{np.mean(numbers):.{decimals}f} ± {np.std(numbers, ddof=1):.{decimals}f}"
    theirs = values(result, second or first, column, other or one)
    differences = [mine[seed] - theirs[seed] for seed in mine]
    low, high = stats.t.interval(
        0.95, len(differences) - 1, np.mean(differences), stats.sem(differences)
    )
    shown = [f"{value:+.{decimals}f}" for value in (np.mean(differences), low, high)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def texts():
    """What the page says about each claim, and above the claims about the radius."""
    found = {
        row[0]: row[2]
        for row in (line.strip("| ").split(" | ") for line in PAGE.splitlines())
        if re.fullmatch(r"[LA]\d+", row[0])
    }
    return found | {"radius": PAGE.split("\n## Lookbehind-SAM\n")[0].replace("\n", " ")}


def test_all_forty_claims_are_on_the_page():
    expected = [f"L{i}" for i in range(1, 24)] + [f"A{i}" for i in range(1, 18)]
    assert [claim for claim in texts() if claim != "radius"] == expected


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_a_number_is_that_of_the_results(row):
    claim, shown, result, rows, quantity = row
    assert shown == number(result, rows, quantity, len(shown.split(" ")[0].partition(".")[2]))
    assert shown in texts()[claim]


def test_every_number_on_the_page_has_a_source():
    sources = {(claim, shown) for claim, shown, *_ in ROWS}
    shown = {
        (claim, found) for claim, text in texts().items() for found in re.findall(NUMBER, text)
    }
    assert shown == sources


def test_no_compared_row_is_one_that_did_not_train():
    for _, _, result, rows, _ in ROWS:
        names, _, panel = rows.partition(" @ ")
        for name in names.split(" minus "):
            for row in rows_of(result):
                assert row["trained"] or row["label"] != name or panel not in row["panel"]
