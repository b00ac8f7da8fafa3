"""Heat maps of recipes over two parameters."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.recipes.drawings import Draw, by_series, quantity
from experiments.recipes.recipe import CellResult, Result
from experiments.reporting import charts


def over_x_and_y(key: str, x_label: str, y_label: str, *, reference: Sequence[str] = ()) -> Draw:
    """A heat map for each column and series over ``Cell.x`` and ``Cell.y``.

    Args:
      key: the quantity.
      x_label: label of the horizontal axis.
      y_label: label of the vertical axis.
      reference: rows without coordinates; white is the mean of the one that shares its last letters
        with the series (Lookbehind-SAM: SAM).
    """

    def draw(result: Result) -> Figure:
        maps = {
            (column, series): points
            for column in result.columns
            for series, points in by_series(result.of_column(column)).items()
            if points[0].cell.y is not None
        }
        figure, axes = charts.panels([f"{series}: {column}" for column, series in maps])
        for axis, ((column, series), points) in zip(axes, maps.items(), strict=True):
            xs = sorted({each.cell.x for each in points if each.cell.x is not None})
            ys = sorted({each.cell.y for each in points if each.cell.y is not None})
            values = np.full((len(ys), len(xs)), np.nan)
            for each in points:
                x, y = each.cell.x, each.cell.y
                if key in each.statistics and not each.diverged and x is not None and y is not None:
                    values[ys.index(y), xs.index(x)] = each.statistics[key].mean
            center = _reference(result.of_column(column), reference, series, key)
            if np.isfinite(values).any():
                decimals = quantity(result, key).decimals
                charts.heat_map(axis, xs, ys, values, center, min(decimals, 1))
            axis.set(xlabel=x_label, ylabel=y_label)
            if center is not None:
                axis.set_title(f"{axis.get_title()}\nwhite: {center:.1f}", fontsize=10)
        return figure

    return draw


def _reference(
    cells: Sequence[CellResult], rows: Sequence[str], series: str, key: str
) -> float | None:
    """The mean of the reference row whose name ends the series' name after a dash."""
    for each in cells:
        if each.cell.row in rows and series.endswith(f"-{each.cell.row}"):
            return float(each.statistics[key].mean) if key in each.statistics else None
    return None
