"""Tables of measurements, as Markdown and as JSON."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.results.markdown import markdown_table
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
