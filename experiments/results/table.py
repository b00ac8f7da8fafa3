"""The tidy table of results: one number a row, and in its other columns what it is a number of.

Every row has ``metric`` and ``value``, most have ``seed`` and ``run``. The other columns are
parameters (``method``, ``rho``, ``k``, ...) and the coordinate of a curve (``epoch``, ``radius``).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from experiments.results import stats

Entry = Mapping[str, Any]


class Curve(NamedTuple):
    """Values over a coordinate.

    Attributes:
      x: the coordinates that all seeds have, in ascending order.
      values: ``[seed, coordinate]``.
      seeds: the seeds.
    """

    x: np.ndarray
    values: np.ndarray
    seeds: tuple[int, ...]

    @property
    def summary(self) -> stats.Summary:
        """Mean and deviation over seeds at each coordinate."""
        return stats.summary(self.values)


class Table:
    """Rows of named values, in the order in which they were added. Immutable."""

    def __init__(self, rows: Iterable[Entry] = ()):
        self.rows: tuple[Entry, ...] = tuple(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.rows)

    def __add__(self, other: "Table") -> "Table":
        return Table(self.rows + other.rows)

    def where(self, **values: Any) -> "Table":
        """The rows that have these values; a column that a row lacks counts as None."""
        return Table(
            row for row in self.rows if all(row.get(key) == v for key, v in values.items())
        )

    def having(self, *columns: str) -> "Table":
        """The rows that have a value in all of these columns."""
        return Table(row for row in self.rows if all(row.get(c) is not None for c in columns))

    def with_columns(self, **values: Any) -> "Table":
        """All rows with further columns."""
        return Table({**values, **row} for row in self.rows)

    def distinct(self, column: str) -> list[Any]:
        """The different values of a column, in order of appearance."""
        return list(dict.fromkeys(row[column] for row in self.rows if column in row))

    def group(self, *columns: str) -> dict[tuple, "Table"]:
        """The rows by their values in some columns, in order of appearance."""
        groups: dict[tuple, list[Entry]] = {}
        for row in self.rows:
            groups.setdefault(tuple(map(row.get, columns)), []).append(row)
        return {key: Table(rows) for key, rows in groups.items()}

    def by_seed(self, metric: str, **values: Any) -> dict[int, float]:
        """The value of a metric for each seed.

        Raises:
          LookupError: if a seed has several, because they differ in another column.
        """
        found: dict[int, float] = {}
        for row in self.where(metric=metric, **values):
            if row["seed"] in found:
                raise LookupError(f"{metric} has several values for seed {row['seed']}: {row}.")
            found[row["seed"]] = row["value"]
        return found

    def summary(self, metric: str, **values: Any) -> stats.Summary | None:
        """Mean and deviation of a metric over seeds; None if there is no value."""
        found = self.by_seed(metric, **values)
        return stats.summary(list(found.values())) if found else None

    def over(self, column: str, metric: str, **values: Any) -> Curve:
        """A metric over a coordinate, at those of its values that all seeds have.

        Raises:
          LookupError: if there is no value at all.
        """
        by_seed = {
            seed: {row[column]: row["value"] for row in rows}
            for (seed,), rows in self.having(column)
            .where(metric=metric, **values)
            .group("seed")
            .items()
        }
        if not by_seed:
            raise LookupError(f"the table has no {metric} over {column}.")
        x = sorted(set.intersection(*map(set, by_seed.values())))
        rows = [[curve[place] for place in x] for curve in by_seed.values()]
        return Curve(np.array(x, float), np.array(rows, float), tuple(by_seed))

    def pivot(self, index: str, columns: str, metric: str) -> tuple[list, list, np.ndarray]:
        """Means of a metric over two parameters.

        Returns:
          The sorted values of ``index`` and of ``columns``, and ``means[index, column]``, NaN where
          there is no value.
        """
        rows = self.where(metric=metric).having(index, columns)
        places = sorted(set(rows.distinct(index))), sorted(set(rows.distinct(columns)))
        means = np.full((len(places[0]), len(places[1])), np.nan)
        for (i, j), cell in rows.group(index, columns).items():
            means[places[0].index(i), places[1].index(j)] = np.mean([row["value"] for row in cell])
        return *places, means


def series(metric: str, values: ArrayLike, **coordinates: Iterable[float]) -> list[Entry]:
    """Rows of a metric: a number, or an array with a coordinate for each of its axes."""
    places = product(*(np.asarray(list(axis)).tolist() for axis in coordinates.values()))
    return [
        {"metric": metric, **dict(zip(coordinates, place, strict=True)), "value": value}
        for place, value in zip(places, np.ravel(values).tolist(), strict=True)
    ]


def pack(table: Table) -> dict[str, dict[str, list]]:
    """The rows of one config in a short form for JSON: metric -> column -> list of values.

    Only coordinates, seeds and values are kept; a column that no row of a metric has is left out.
    """
    packed = {}
    for metric in table.distinct("metric"):
        rows = table.where(metric=metric)
        columns = dict.fromkeys(key for row in rows for key in row)
        for key in ("metric", "run", "value"):
            columns.pop(key, None)
        columns["value"] = None  # the last one
        packed[metric] = {column: [row.get(column) for row in rows] for column in columns}
    return packed


def unpack(packed: Mapping[str, Mapping[str, Sequence]]) -> Table:
    """The inverse of :func:`pack`; a value that is not a number in JSON is NaN."""
    return Table(
        {"metric": metric, **dict(zip(columns, values, strict=True)), "value": _number(values[-1])}
        for metric, columns in packed.items()
        for values in zip(*columns.values(), strict=True)
    )


def concatenate(tables: Iterable[Table]) -> Table:
    """All rows of the tables."""
    return Table(row for table in tables for row in table)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
