"""A series in a CSV file: a column of dates, and a column of numbers for each channel."""

import csv
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np

_SHOWN = 80  # letters of a line in a message


class Series(NamedTuple):
    """A multivariate series without gaps.

    Attributes:
      name: name of the file, or "synthetic".
      values: ``[time, channel]``, float64, in the file's units.
      channels: the names of the channels.
    """

    name: str
    values: np.ndarray
    channels: tuple[str, ...]


class Line(NamedTuple):
    """A line of a file: where it is, for messages, and its cells."""

    where: str
    cells: Sequence[str]


def read_series(path: str) -> Series:
    """Reads a CSV file whose first line names the columns and whose first column holds dates.

    The dates are written as in ISO 8601 and rise by a constant step. All other columns are
    channels.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file has another form; the message names the line.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"data_dir must be a CSV file with a column of dates, got {path!r}; ETTh1.csv and "
            "ETTh2.csv are in github.com/zhouhaoyi/ETDataset (CC BY-ND 4.0)."
        )
    header, *lines = _read_lines(path)
    if len(header.cells) < 2 or _date(header.cells[0]) is not None or not lines:
        raise ValueError(
            f"{header.where}: must name a column of dates and at least one channel, and rows must "
            f"follow, got {','.join(header.cells)[:_SHOWN]!r}."
        )
    for line in lines:
        if len(line.cells) != len(header.cells):
            raise ValueError(
                f"{line.where}: must have {len(header.cells)} cells, has {len(line.cells)}."
            )
    channels = tuple(header.cells[1:])
    _check_dates(lines)
    return Series(Path(path).stem, np.array([_numbers(line, channels) for line in lines]), channels)


def _read_lines(path: str) -> list[Line]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [Line(f"{path}, line {reader.line_num}", cells) for cells in reader if cells]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a CSV file in UTF-8: {error}.") from error
    return lines or [Line(path, [])]


def _check_dates(lines: Sequence[Line]) -> None:
    """Raises ValueError unless the first column holds dates that rise by a constant step."""
    dates = []
    for line in lines:
        date = _date(line.cells[0])
        if date is None:
            raise ValueError(
                f"{line.where}: the first column must hold dates such as 2016-07-01 00:00:00, got "
                f"{line.cells[0][:_SHOWN]!r}."
            )
        dates.append(date)
    steps = [later - earlier for earlier, later in pairwise(dates)]
    usual = Counter(steps).most_common(1)[0][0] if steps else timedelta(1)
    for line, step in zip(lines[1:], steps, strict=True):
        if step != usual or step <= timedelta(0):
            raise ValueError(
                f"{line.where}: its date must be one step ({usual}) after that of the row before, "
                f"is {step} after it; sort the rows, and fill gaps first."
            )


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=None)
    except ValueError:
        return None


def _numbers(line: Line, channels: Sequence[str]) -> list[float]:
    numbers = []
    for channel, cell in zip(channels, line.cells[1:], strict=True):
        try:
            number = float(cell)
        except ValueError:
            number = float("nan")
        if not isfinite(number):
            raise ValueError(
                f"{line.where}, column {channel!r}: must be a finite number, got {cell[:_SHOWN]!r}."
            )
        numbers.append(number)
    return numbers
