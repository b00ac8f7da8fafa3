"""Markdown tables."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
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


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def _alignment(column: Sequence[str]) -> str:
    return "right" if any(re.match(r"[-+]?[\d.]", cell) for cell in column) else "left"
