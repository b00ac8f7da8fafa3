"""Markdown tables of results, and how numbers are written in them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tabulate import tabulate

from experiments.results.stats import Difference, summary

DASH = "-"  # a number that a row does not have


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of rows by heading; columns of text are left-aligned."""
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    cells = [[_text(row.get(heading, "")) for heading in headings] for row in rows]
    # Every string is final: tabulate would parse "1.50" as a number and print 1.5.
    return tabulate(
        cells,
        headings,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[_alignment(column) for column in zip(*cells, strict=True)],
    )


def number(value: float | None, decimals: int) -> str:
    """A number, or a dash if there is none or it is not finite."""
    return DASH if value is None or not np.isfinite(value) else f"{value:.{decimals}f}"


def plus_minus(mean: float | None, std: float | None, decimals: int) -> str:
    """``mean ± std``, without the deviation if there is none."""
    if mean is None or std is None:
        return number(mean, decimals)
    return f"{number(mean, decimals)} ± {number(std, decimals)}"


def mean_and_std(values: ArrayLike, decimals: int) -> str:
    """Mean ± sample standard deviation over seeds, or the value that all of them share."""
    values = np.asarray(values, float)
    if np.ptp(values) == 0:
        return f"{values[0]:g}"
    return plus_minus(float(values.mean()), float(values.std(ddof=1)), decimals)


def two_digits(values: ArrayLike) -> str:
    """Mean ± deviation, rounded to two significant digits of the deviation."""
    values = np.asarray(values, float)
    found = summary(values)
    if not np.isfinite(found.mean):
        return "not finite"
    if found.std is None or found.std == 0:
        return f"{found.mean:.4g}"
    decimals = max(0, 1 - int(np.floor(np.log10(found.std))))
    return plus_minus(float(found.mean), float(found.std), decimals)


def difference(found: Difference, decimals: int) -> str:
    """A signed mean difference with its 95% interval, if it has one."""
    text = f"{found.mean:+.{decimals}f}"
    if found.interval is not None:
        low, high = found.interval
        text += f" [{low:+.{decimals}f}, {high:+.{decimals}f}]"
    return text


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def _alignment(column: Sequence[str]) -> str:
    return "right" if any(re.match(r"[-+]?[\d.]", cell) for cell in column) else "left"
