"""Charts of results: points, lines, curves, heat maps and distributions, in figures of panels."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from scipy import stats

from experiments.reporting.curves import Style, draw_curve, styles

_WIDTH, _HEIGHT = 4.8, 3.8  # inches of a panel
_WRAP = 42  # characters of a panel's title


class Series(NamedTuple):
    """Points of one method.

    Attributes:
      x: horizontal coordinates.
      y: mean over seeds.
      y_error: deviation over seeds; None for one seed.
      x_error: likewise.
    """

    x: np.ndarray
    y: np.ndarray
    y_error: np.ndarray | None = None
    x_error: np.ndarray | None = None


def panels(titles: Sequence[str], height: float = _HEIGHT) -> tuple[Figure, list[plt.Axes]]:
    """A figure with one titled panel for each title, in rows of at most three."""
    rows = -(-len(titles) // 3)
    columns = -(-len(titles) // rows)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(_WIDTH * columns, 6.5), height * rows),
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(wspace=0.05, hspace=0.05)
    flat = list(axes.flat)
    for axis in flat[len(titles) :]:
        axis.remove()
    for axis, title in zip(flat, titles, strict=False):
        axis.set_title(textwrap.fill(title, _WRAP), fontsize=10)
        axis.grid(alpha=0.3)
    return figure, flat[: len(titles)]


def named_styles(names: Sequence[str]) -> dict[str, Style]:
    """A style for each name."""
    return dict(zip(names, styles(), strict=False))


def legend(figure: Figure, styles_by_name: Mapping[str, Style]) -> None:
    """Names the series below the panels."""
    handles = [
        plt.Line2D([], [], color=s.color, linestyle=s.line, marker=s.marker, ms=5, label=name)
        for name, s in styles_by_name.items()
    ]
    longest = max(map(len, styles_by_name), default=1)
    columns = max(1, int(figure.get_figwidth() / (0.085 * longest + 0.9)))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=3.5
    )


def rows(panel: plt.Axes, values: Mapping[str, tuple[float, float | None]], label: str) -> None:
    """A point with its deviation for each name, from top to bottom."""
    names = list(values)
    means = np.array([values[name][0] for name in names])
    errors = np.array([values[name][1] or 0.0 for name in names])
    places = np.arange(len(names))
    panel.errorbar(means, places, xerr=errors if errors.any() else None, fmt="o", capsize=3)
    panel.set_yticks(places, names, fontsize=8)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_xlabel(label)


def lines(panel: plt.Axes, series: Mapping[str, Series], named: Mapping[str, Style]) -> None:
    """Lines with markers at the points and bars of one deviation."""
    for name, points in series.items():
        style = named[name]
        panel.errorbar(
            points.x,
            points.y,
            yerr=points.y_error,
            color=style.color,
            linestyle=style.line,
            marker=style.marker,
            ms=5,
            capsize=2,
            linewidth=1.3,
        )


def curves(panel: plt.Axes, series: Mapping[str, Series], named: Mapping[str, Style]) -> None:
    """Curves over epochs with bands of one deviation."""
    for name, points in series.items():
        draw_curve(panel, points.x, points.y, points.y_error, named[name])


def scatter(panel: plt.Axes, series: Mapping[str, Series], named: Mapping[str, Style]) -> None:
    """Points with deviations in both directions, joined in their order, with growing markers."""
    for name, points in series.items():
        style = named[name]
        panel.errorbar(
            points.x,
            points.y,
            xerr=points.x_error,
            yerr=points.y_error,
            color=style.color,
            linestyle=":",
            linewidth=1,
            capsize=2,
        )
        sizes = 25 + 30 * np.arange(len(points.x))
        panel.scatter(points.x, points.y, s=sizes, color=style.color, marker=style.marker)


def heat_map(
    panel: plt.Axes,
    x: Sequence[float],
    y: Sequence[float],
    values: np.ndarray,
    center: float | None = None,
    decimals: int = 1,
) -> None:
    """Cells with their numbers. With ``center``: white there, blue above, red below.

    Args:
      panel: the panel.
      x: labels of the columns.
      y: labels of the rows, from bottom to top.
      values: ``[row, column]``; NaN is drawn as "N/A".
      center: the value that is white.
      decimals: digits behind the point.
    """
    norm = None
    if center is not None:
        spread = max(float(np.nanmax(np.abs(values - center))), 1e-9)
        norm = TwoSlopeNorm(center, center - spread, center + spread)
    panel.imshow(
        values,
        cmap="RdBu" if center is not None else "viridis",
        norm=norm,
        origin="lower",
        aspect="auto",
    )
    panel.set_xticks(range(len(x)), [f"{value:g}" for value in x])
    panel.set_yticks(range(len(y)), [f"{value:g}" for value in y])
    panel.grid(visible=False)
    for (row, column), value in np.ndenumerate(values):
        text = "N/A" if np.isnan(value) else f"{value:.{decimals}f}"
        box = {"facecolor": "white", "alpha": 0.6, "edgecolor": "none", "pad": 1.5}
        panel.text(column, row, text, ha="center", va="center", fontsize=9, bbox=box)


def histogram(panel: plt.Axes, samples: np.ndarray, bins: int = 30) -> None:
    """A histogram of samples, and the normal density of the same mean and deviation."""
    samples = samples[np.isfinite(samples)]
    panel.hist(samples, bins, density=True, color="#56B4E9", edgecolor="white", linewidth=0.4)
    mean, std = samples.mean(), samples.std(ddof=1)
    if std > 0:
        x = np.linspace(mean - 4 * std, mean + 4 * std, 200)
        panel.plot(x, stats.norm.pdf(x, mean, std), color="black", linewidth=1.2)
        panel.set_xlim(max(samples.min() - std, mean - 4 * std), mean + 5 * std)
    panel.set(xlabel="squared norm of a minibatch gradient", ylabel="density")


def normal_quantiles(panel: plt.Axes, samples: np.ndarray) -> None:
    """A Q-Q plot of standardized samples against the normal distribution."""
    samples = samples[np.isfinite(samples)]
    (theoretical, ordered), _ = stats.probplot((samples - samples.mean()) / samples.std(ddof=1))
    panel.plot([-3.2, 3.2], [-3.2, 3.2], color="0.6", linewidth=2, zorder=0)
    panel.plot(theoretical, ordered, "o", color="#0072B2", ms=3)
    panel.set(xlabel="quantiles of the normal distribution", ylabel="standardized squared norm")
