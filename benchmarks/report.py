"""Tables: as Markdown, as JSON, and in the documentation."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

Row = Mapping[str, Any]


class Table(NamedTuple):
    """What a section measured.

    Attributes:
      title: what it is about.
      rows: columns by heading; numbers in full precision.
      note: what a reader must know to read it.
    """

    title: str
    rows: Sequence[Row]
    note: str

    def markdown(self) -> str:
        """The table between its title and its note."""
        rows = tabulate(self.rows, headers="keys", tablefmt="pipe", floatfmt=".4g")
        return "\n\n".join(part for part in (f"**{self.title}**", rows, self.note) if part)


def write(folder: Path, machine: str, tables: Mapping[str, Table]) -> None:
    """Writes ``results.md`` and ``results.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [machine, *(table.markdown() for table in tables.values())]
    (folder / "results.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    record = {name: table._asdict() for name, table in tables.items()}
    text = json.dumps({"machine": machine, "tables": record}, indent=1)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")


def update_docs(page: Path, parts: Mapping[str, str]) -> None:
    """Puts each part between its markers in ``page``; those without markers are left out."""
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        between = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
        text = between.sub(lambda _, part=part: f"\n{part}\n", text)
    page.write_text(text, encoding="utf-8")
