"""Tables of results, as Markdown and as JSON."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from experiments.storage import disk

Row = Mapping[str, Any]


class Table(NamedTuple):
    """A titled table.

    Attributes:
      title: heading.
      rows: values by column heading; numbers in full precision.
      note: text below the table.
    """

    title: str
    rows: Sequence[Row]
    note: str = ""

    def markdown(self) -> str:
        """The table with title and note; numbers are rounded to four significant digits."""
        parts = (f"**{self.title}**", markdown_table(self.rows), self.note)
        return "\n\n".join(part for part in parts if part)


def markdown_table(rows: Sequence[Row]) -> str:
    """Formats rows as a Markdown table; the columns of text are left-aligned."""
    headers = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row.get(header, "")) for header in headers] for row in rows]
    # Every string is final: tabulate would parse "1.50" as a number and print 1.5.
    return tabulate(
        cells,
        headers,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[_alignment(column) for column in zip(*cells, strict=True)],
    )


def markdown_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; the first row is the heading."""
    heading, *body = rows
    return markdown_table([dict(zip(heading, row, strict=True)) for row in body]).splitlines()


def mean_and_std(values: Sequence[float] | np.ndarray, decimals: int) -> str:
    """Formats mean ± sample standard deviation, or the value that all ``values`` share."""
    values = np.asarray(values, float)
    if np.ptp(values) == 0:
        return f"{values[0]:g}"
    return f"{values.mean():.{decimals}f} ± {values.std(ddof=1):.{decimals}f}"


def write_tables(folder: Path, preamble: str, tables: Mapping[str, Table]) -> None:
    """Writes ``results.md`` and ``results.json``.

    Args:
      folder: destination; created if missing.
      preamble: text above the tables.
      tables: tables by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [preamble, *(table.markdown() for table in tables.values())]
    disk.write_text(folder / "results.md", "\n\n".join(parts) + "\n")
    record = {name: table._asdict() for name, table in tables.items()}
    text = json.dumps({"preamble": preamble, "tables": record}, indent=1)
    disk.write_text(folder / "results.json", text + "\n")


def update_page(page: Path, parts: Mapping[str, str]) -> None:
    """Replaces the text between the markers of each part; parts without markers are ignored."""
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        marked = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
        text = marked.sub(f"\n{part}\n".replace("\\", r"\\"), text)
    disk.write_text(page, text)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def _alignment(column: Sequence[str]) -> str:
    return "right" if any(re.match(r"-?[\d.]", cell) for cell in column) else "left"
