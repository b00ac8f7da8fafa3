"""Claims, and the tests they are made of: paired differences, ranges, trends."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.recipes.statistics import paired

HOLDS, FAILS, UNDECIDED = "holds here", "does not hold here", "undecided at this size"


class Finding(NamedTuple):
    """The outcome of one test.

    Attributes:
      text: what was compared, where.
      n: number of seeds, or of pairs of runs with the same seed.
      effect: mean of the tested number.
      interval: its 95% interval; None for one seed and for two equal values.
      holds: True or False if the interval decides it, else None.
    """

    text: str
    n: int
    effect: float
    interval: tuple[float, float] | None
    holds: bool | None


Test = Callable[["Evidence"], Iterable[Finding]]


class Claim(NamedTuple):
    """A claim of a paper.

    Attributes:
      id: e.g. ``L4``.
      text: the claim.
      where: where the paper makes it.
      test: ``evidence -> findings``; none if the recipes were not run.
      recipes: names of the recipes that it needs.
      note: how the claim is read, or why it cannot be tested.
    """

    id: str
    text: str
    where: str
    test: Test
    recipes: Sequence[str]
    note: str = ""


def verdict(findings: Sequence[Finding]) -> str:
    """A claim holds if all findings hold; one that does not hold is enough to reject it."""
    if any(finding.holds is False for finding in findings):
        return FAILS
    return HOLDS if findings and all(finding.holds for finding in findings) else UNDECIDED


class Evidence:
    """Results of recipes, as their JSON files have them."""

    def __init__(self, folder: Path):
        """Reads results from a folder lazily; a missing one has no cells."""
        self._folder = folder
        self._read: dict[str, list[dict[str, Any]]] = {}

    def cells(self, recipe: str) -> list[dict[str, Any]]:
        """The cells of a recipe; none if it was not run."""
        if recipe not in self._read:
            file = self._folder / f"{recipe}.json"
            found = json.loads(file.read_text(encoding="utf-8"))["cells"] if file.exists() else []
            self._read[recipe] = found
        return self._read[recipe]

    def columns(self, recipe: str, containing: str = "") -> list[str]:
        """Labels of the columns that contain a text."""
        labels = dict.fromkeys(cell["column"] for cell in self.cells(recipe))
        return [label for label in labels if containing in label]

    def rows(self, recipe: str, column: str) -> list[str]:
        """Labels of the rows of a column."""
        return [cell["row"] for cell in self.cells(recipe) if cell["column"] == column]

    def values(self, recipe: str, column: str, row: str, quantity: str) -> dict[int, Any]:
        """Seed -> value of a quantity; empty if there is none."""
        for cell in self.cells(recipe):
            if (cell["column"], cell["row"]) == (column, row):
                found = cell["statistics"].get(quantity)
                if found:
                    values = (np.array(value, float) for value in found["values"])
                    return dict(zip(found["seeds"], values, strict=True))
        return {}

    def gradients_per_step(self, recipe: str, column: str, row: str) -> float | None:
        """Mean number of gradients of a step."""
        for cell in self.cells(recipe):
            if (cell["column"], cell["row"]) == (column, row):
                return cell["gradients_per_step"]
        return None


def no_test(evidence: Evidence) -> Iterable[Finding]:
    """The test of a claim that these recipes do not decide."""
    del evidence
    return ()


def all_of(*tests: Test) -> Test:
    """All findings of several tests."""
    return lambda evidence: [finding for test in tests for finding in test(evidence)]


def larger(
    recipe: str,
    row: str,
    other: str,
    quantity: str = "test_accuracy",
    *,
    column: str = "",
    margin: float = 0.0,
) -> Test:
    """``quantity`` is larger in ``row`` than in ``other``, in each column, by paired differences.

    Args:
      recipe: name of the recipe.
      row: label of the row.
      other: label of the other row.
      quantity: key of the quantity.
      column: text that the columns contain.
      margin: the difference must be above ``-margin``; 0 for a strict comparison.
    """

    def test(evidence: Evidence) -> Iterable[Finding]:
        for label in evidence.columns(recipe, column):
            mine = evidence.values(recipe, label, row, quantity)
            theirs = evidence.values(recipe, label, other, quantity)
            pairs = [mine[seed] - theirs[seed] for seed in mine if seed in theirs]
            if pairs:
                text = f"{row} - {other}, {quantity} ({label})"
                yield decided(text, pairs, low=-margin)

    return test


def smaller(
    recipe: str, row: str, other: str, quantity: str = "test_accuracy", *, column: str = ""
) -> Test:
    """``quantity`` is smaller in ``row`` than in ``other``."""
    return larger(recipe, other, row, quantity, column=column)


def close(
    recipe: str, row: str, other: str, margin: float, quantity: str = "test_accuracy"
) -> Test:
    """``quantity`` differs by less than ``margin`` between two rows."""

    def test(evidence: Evidence) -> Iterable[Finding]:
        for label in evidence.columns(recipe):
            mine = evidence.values(recipe, label, row, quantity)
            theirs = evidence.values(recipe, label, other, quantity)
            pairs = [mine[seed] - theirs[seed] for seed in mine if seed in theirs]
            if pairs:
                text = f"{row} - {other}, {quantity}, within {margin:g} ({label})"
                yield decided(text, pairs, low=-margin, high=margin)

    return test


def in_range(
    recipe: str,
    row: str,
    quantity: str,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    column: str = "",
) -> Test:
    """The mean of ``quantity`` in a row is between two numbers."""

    def test(evidence: Evidence) -> Iterable[Finding]:
        for label in evidence.columns(recipe, column):
            values = list(evidence.values(recipe, label, row, quantity).values())
            if values:
                text = f"{row}, {quantity} in [{low:g}, {high:g}] ({label})"
                yield decided(text, values, low=low, high=high)

    return test


def decided(text: str, values: Sequence[float], low: float = 0.0, high: float = np.inf) -> Finding:
    """Whether the 95% interval of the mean lies in the open interval from ``low`` to ``high``.

    It holds if all of the interval does, does not if none of it does, else it is undecided. Equal
    values have an interval of width 0; two equal ones have none, since two accuracies on a few
    hundred images are equal by chance.
    """
    found = paired(np.asarray(values, float))
    if found.interval is None:
        return Finding(text, found.n, found.difference, None, None)
    interval = found.interval
    if low < interval[0] and interval[1] < high:
        holds: bool | None = True
    else:
        holds = False if interval[1] <= low or interval[0] >= high else None
    return Finding(text, found.n, found.difference, interval, holds)


def exact(text: str, difference: float, tolerance: float = 1e-6) -> Finding:
    """A number that has no deviation over seeds and must be 0."""
    value = float(difference)
    return Finding(text, 1, value, (value, value), abs(value) <= tolerance)


def differences(values: Mapping[int, float], others: Mapping[int, float]) -> list[float]:
    """Paired differences over the seeds that both have."""
    return [values[seed] - others[seed] for seed in values if seed in others]
