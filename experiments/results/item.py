"""An item: a table or figure of a paper as rows of parameters, and the results of its runs."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments.results import stats
from experiments.results.metrics import Metric
from experiments.results.row import Params, Row, method_title, words
from experiments.results.table import Table, concatenate

LAPTOP, PAPER = SCALES = ("laptop", "paper")

Options = Mapping[str, Mapping[str, Any]]  # measure -> its options


class ResultRow(NamedTuple):
    """A row with the results of its runs.

    Attributes:
      row: the row.
      label: its name in tables and legends, derived from its parameters.
      table: the metrics of its runs.
      gradients_per_step: mean number of gradients of a training step.
      diverged: seeds whose run stopped with a loss that is not finite.
      trained: False if the runs did not train; such a row is compared with nothing and not drawn.
      against: label of the row that it is compared with; None if there is none.
      difference: paired difference of the first metric to that row.
      holm: p-value of the difference, corrected for the number of comparisons in the panel.
      verdict: "no worse", "worse" or "undecided", by the item's margin; None without one.
    """

    row: Row
    table: Table
    gradients_per_step: float | None = None
    diverged: tuple[int, ...] = ()
    trained: bool = True
    label: str = ""
    against: str | None = None
    difference: stats.Difference | None = None
    holm: float | None = None
    verdict: str | None = None


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
        return concatenate(
            each.table.with_columns(item=self.name, **each.row.params) for each in self.rows
        )

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
      unnamed: parameters that labels leave out although they vary, such as tuned ones.
      against: ``params -> params`` (some of them) of the row of the same panel to compare with, or
        None.
      choices: settings that the paper leaves open, with the choice made here; one sentence each.
      limits: scale -> what that scale cannot show.
      measures: ``scale -> options`` of the measures that the metrics need, by name.
      derive: ``table -> rows`` computed from several runs, such as the effect of one parameter.
      t_test: whether the table has the p-values of the paired t-test, as the paper's has.
      margin: a loss of the first metric that would not matter; with it the table has p-values
        corrected by Holm's method within each panel, and says which rows are no worse.
      draws_data: whether each seed draws its own wrong labels, subset and folds.
    """

    title: str
    rows: Callable[[str], Sequence[Row]]
    seeds: Mapping[str, int]
    metrics: Sequence[Metric]
    draw: Callable[[Result], Figure]
    panels: Sequence[str] = ("setting",)
    panel_title: Callable[[Params], str] | None = None
    name: Callable[[Params], str] | None = None
    unnamed: Sequence[str] = ()
    against: Callable[[Params], Params | None] = lambda params: None
    choices: Sequence[str] = ()
    limits: Mapping[str, str] = MappingProxyType({})
    measures: Callable[[str], Options] = _no_measures
    derive: Callable[[Table], Iterable[Mapping[str, Any]]] = lambda table: ()
    t_test: bool = False
    margin: float | None = None
    draws_data: bool = False

    def published(self, panels: Container[str]) -> dict[str, dict[str, Row]]:
        """The rows with numbers of the paper in other panels than these, by title and label."""
        rows = [row for row in self.rows(PAPER) if row.published]
        missing = [row for row in rows if self.heading(row.params) not in panels]
        found: dict[str, dict[str, Row]] = {}
        for row, label in zip(missing, self.labels(missing), strict=True):
            found.setdefault(self.heading(row.params), {})[label] = row
        return found

    def panel(self, params: Params) -> tuple:
        """The parameters that say in which panel a row is."""
        return tuple(params.get(key) for key in self.panels)

    def heading(self, params: Params) -> str:
        """The title of a row's panel."""
        if self.panel_title is not None:
            return self.panel_title(params)
        names = [
            method_title(params) if key == "method" else params.get(key) for key in self.panels
        ]
        return ", ".join(str(name) for name in names if name is not None)

    def labels(
        self,
        rows: Sequence[Row],
        without: Sequence[str] = (),
        name: Callable[[Params], str] | None = None,
    ) -> list[str]:
        """Names of rows: the method, and the parameters that vary between rows of that name.

        Args:
          rows: the rows.
          without: parameters to leave out, such as the one on the axis of a figure.
          name: ``params -> str``, the beginning of a label; by default the item's ``name``.
        """
        name = name or self.name or method_title
        names = [name(row.params) for row in rows]
        keys = dict.fromkeys(key for row in rows for key in row.params)
        for key in ("method", *self.panels, *self.unnamed, *without):
            keys.pop(key, None)
        values: dict[tuple, set] = {}
        for row, title in zip(rows, names, strict=True):
            for key in keys:
                place = (self.panel(row.params), title, key)
                values.setdefault(place, set()).add(row.params.get(key))
        varying = {(title, key) for (_, title, key), found in values.items() if len(found) > 1}
        return [
            ", ".join([title, *words(row.params, [k for k in row.params if (title, k) in varying])])
            for row, title in zip(rows, names, strict=True)
        ]


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


def derive(result: Result) -> Result:
    """The result with the metrics that the item derives from several runs."""
    keys = list(dict.fromkeys(key for each in result.rows for key in each.row.params))
    derived = Table(result.item.derive(result.table)).group(*keys)
    rows = []
    for each in result.rows:
        # Without the parameters, which the tables of rows do not have.
        found = derived.get(tuple(map(each.row.params.get, keys)), Table())
        own = ({k: v for k, v in row.items() if k not in (*keys, "item")} for row in found)
        rows.append(each._replace(table=each.table + Table(own)))
    return result._replace(rows=rows)


def evaluate(result: Result) -> Result:
    """The result with labels, and the differences between the rows that are to be compared."""
    item, rows = result.item, result.rows
    plain = [each.row for each in rows]
    labels = item.labels(plain)
    values = [each.table.by_seed(item.metrics[0].name) for each in rows]
    others = [reference(plain, item, row.params) for row in plain]
    evaluated = []
    for place, (each, other) in enumerate(zip(rows, others, strict=True)):
        each = each._replace(label=labels[place])
        if other is not None:
            comparable = each.trained and rows[other].trained
            difference = stats.compare(values[place], values[other]) if comparable else None
            each = each._replace(against=labels[other], difference=difference)
        evaluated.append(each)
    if item.margin is not None:
        corrected = _corrected(item, evaluated)
        for place, (each, other) in enumerate(zip(evaluated, others, strict=True)):
            if other is not None and each.difference is not None:
                p = corrected.get(place)
                found = stats.verdict(values[place], values[other], item.margin, p)
                evaluated[place] = each._replace(holm=p, verdict=found)
    return result._replace(rows=evaluated)


def _corrected(item: Item, rows: Sequence[ResultRow]) -> dict[int, float]:
    """P-values by place, corrected by Holm's method, a family for each panel."""
    families: dict[tuple, dict[int, float]] = {}
    for place, each in enumerate(rows):
        if each.difference and each.difference.p is not None:
            family = families.setdefault(item.panel(each.row.params), {})
            family[place] = each.difference.p
    return {
        place: p
        for family in families.values()
        for place, p in zip(family, stats.holm(list(family.values())), strict=True)
    }
