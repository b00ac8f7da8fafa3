"""An item: a table or figure of a paper as rows of parameters, and the results of its runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from ml_collections import ConfigDict

from experiments.methods import spec
from experiments.methods.table import METHODS
from experiments.results import stats
from experiments.results.metrics import Metric
from experiments.results.table import Table

LAPTOP, PAPER = SCALES = ("laptop", "paper")

Params = Mapping[str, Any]
Options = Mapping[str, Mapping[str, Any]]  # measure -> its options

_WORDS = {  # parameters that are words in a label, by value
    ("average", True): "averaged gradients",
    ("rho_over_k", True): "steps of rho / k",
    ("alpha", "adaptive"): "adaptive alpha",
}


class Row(NamedTuple):
    """One config, trained with every seed: a row of a table, a point or curve of a figure.

    Attributes:
      params: what distinguishes it: ``setting``, ``method``, the method's arguments, and others.
      config: the runs' config; its seed is replaced by that of each run.
      published: the paper's value of the item's first metric, and its deviation if it has one.
    """

    params: Params
    config: ConfigDict
    published: tuple[float, float | None] | None = None


class ResultRow(NamedTuple):
    """A row with the results of its runs.

    Attributes:
      row: the row.
      label: its name in tables and legends, derived from its parameters.
      table: the metrics of its runs.
      gradients_per_step: mean number of gradients of a training step.
      diverged: seeds whose run stopped with a loss that is not finite.
      against: label of the row that it is compared with; None if there is none.
      difference: paired difference of the first metric to that row.
    """

    row: Row
    label: str
    table: Table
    gradients_per_step: float | None = None
    diverged: tuple[int, ...] = ()
    against: str | None = None
    difference: stats.Difference | None = None


class Result(NamedTuple):
    """The results of an item.

    Attributes:
      name: the item's name, e.g. ``lookbehind.table1``.
      item: the item.
      scale: one of ``SCALES``.
      date: the day on which it was written, as in 2026-11-21.
      rows: its rows, in the item's order.
    """

    name: str
    item: "Item"
    scale: str
    date: str
    rows: Sequence[ResultRow]

    @property
    def table(self) -> Table:
        """The tidy table: metrics of all runs with item, parameters, seed and epoch."""
        rows = (r.table.with_columns(item=self.name, **r.row.params) for r in self.rows)
        return Table(entry for table in rows for entry in table)

    @property
    def panels(self) -> dict[str, list[ResultRow]]:
        """The rows of each panel, by its title."""
        groups: dict[tuple, list[ResultRow]] = {}
        for row in self.rows:
            groups.setdefault(self.item.panel(row.row.params), []).append(row)
        return {self.item.heading(rows[0].row.params): rows for rows in groups.values()}


def _no_measures(scale: str) -> Options:
    del scale
    return {}


class Item(NamedTuple):
    """A table or figure.

    Attributes:
      title: the heading.
      rows: ``scale -> rows``; none at a scale that cannot show the item, which ``limits`` explains.
      seeds: scale -> number of seeds.
      metrics: the numbers of each run; the first one is compared between rows and with the paper.
      draw: ``result -> figure``.
      panels: the parameters that divide the rows into tables and panels.
      panel_title: ``params -> title`` of a panel; by default the values of ``panels``.
      name: ``params -> str``, the beginning of a label; by default the method's title.
      against: ``params -> params`` (some of them) of the row of the same panel to compare with, or
        None.
      choices: settings that the paper leaves open, with the choice made here; one sentence each.
      limits: scale -> what that scale cannot show.
      measures: ``scale -> options`` of the measures that the metrics need, by name.
      derive: ``table -> rows`` computed from several runs, such as the effect of one parameter.
      t_test: whether the table has the p-values of the paired t-test, as the paper's has.
      trained: threshold of the first metric; a row with a seed below it is not compared.
    """

    title: str
    rows: Callable[[str], Sequence[Row]]
    seeds: Mapping[str, int]
    metrics: Sequence[Metric]
    draw: Callable[[Result], Figure]
    panels: Sequence[str] = ("setting",)
    panel_title: Callable[[Params], str] | None = None
    name: Callable[[Params], str] | None = None
    against: Callable[[Params], Params | None] = lambda params: None
    choices: Sequence[str] = ()
    limits: Mapping[str, str] = MappingProxyType({})
    measures: Callable[[str], Options] = _no_measures
    derive: Callable[[Table], Iterable[Mapping[str, Any]]] = lambda table: ()
    t_test: bool = False
    trained: float | None = None

    def panel(self, params: Params) -> tuple:
        """The parameters that say in which panel a row is."""
        return tuple(params.get(key) for key in self.panels)

    def heading(self, params: Params) -> str:
        """The title of a row's panel."""
        if self.panel_title is not None:
            return self.panel_title(params)
        return ", ".join(str(value) for value in self.panel(params) if value is not None)

    def labels(self, rows: Sequence[Row], without: Sequence[str] = ()) -> list[str]:
        """Names of rows: the method, and the parameters that vary between rows of that name.

        Args:
          rows: the rows.
          without: parameters to leave out, such as the one on the axis of a figure.
        """
        name = self.name or method_title
        names = [name(row.params) for row in rows]
        keys = dict.fromkeys(key for row in rows for key in row.params)
        for key in ("method", *self.panels, *without):
            keys.pop(key, None)
        values: dict[tuple, set] = {}
        for row, title in zip(rows, names, strict=True):
            for key in keys:
                place = (self.panel(row.params), title, key)
                values.setdefault(place, set()).add(row.params.get(key))
        varying = {(title, key) for (_, title, key), found in values.items() if len(found) > 1}
        return [
            ", ".join(
                [title, *_words(row.params, [key for key in keys if (title, key) in varying])]
            )
            for row, title in zip(rows, names, strict=True)
        ]


def method_string(name: str, arguments: Params) -> str:
    """A method with arguments as a config names it, in the order of the table of methods."""
    order = METHODS[name].defaults
    return spec.write(
        name, dict(sorted(arguments.items(), key=lambda pair: list(order).index(pair[0])))
    )


def method_title(params: Params) -> str:
    """The title of a row's method as the papers write it."""
    return METHODS[params["method"]].title.format(optimizer=params.get("optimizer", "SGD"))


def reference(rows: Sequence[Row], item: Item, params: Params) -> int | None:
    """Place of the row that a row with these parameters is compared with.

    Raises:
      LookupError: unless the parameters that ``against`` gives are those of one row of the panel.
    """
    wanted = item.against(params)
    if wanted is None:
        return None
    found = [
        place
        for place, other in enumerate(rows)
        if item.panel(other.params) == item.panel(params)
        and all(other.params.get(key) == value for key, value in wanted.items())
    ]
    if len(found) != 1:
        raise LookupError(f"{len(found)} rows of {params} have the parameters {wanted}, not one.")
    return found[0]


def evaluate(name: str, item: Item, scale: str, date: str, rows: Sequence[ResultRow]) -> Result:
    """A result from rows with the metrics of their runs: derived metrics, labels, comparisons."""
    plain = [r.row for r in rows]
    keys = list(dict.fromkeys(key for row in plain for key in row.params))
    derived = Table(item.derive(Result(name, item, scale, date, rows).table)).group(*keys)
    tables = [r.table + derived.get(tuple(map(r.row.params.get, keys)), Table()) for r in rows]
    labels = item.labels(plain)
    values = [table.by_seed(item.metrics[0].name) for table in tables]
    has_trained = [
        item.trained is None or stats.trained(list(v.values()), item.trained) for v in values
    ]
    results = []
    for place, (result, table) in enumerate(zip(rows, tables, strict=True)):
        other, against, difference = reference(plain, item, result.row.params), None, None
        if other is not None:
            against = labels[other]
            if has_trained[place] and has_trained[other]:
                difference = stats.compare(values[place], values[other])
        results.append(ResultRow(
            result.row, labels[place], table, result.gradients_per_step, result.diverged,
            against, difference,
        ))  # fmt: skip
    return Result(name, item, scale, date, results)


def _words(params: Params, keys: Sequence[str]) -> list[str]:
    """Parameters in a label; a flag that is off, the usual case, needs no word."""
    words = []
    for key in keys:
        value = params.get(key)
        if (key, value) in _WORDS:
            words.append(_WORDS[key, value])
        elif value is not None and value is not False:
            shown = f"{value:g}" if isinstance(value, (int, float)) else str(value)
            words.append(f"{key} = {shown}")
    return words
