"""Parts of figures: panels, one style for each method, curves, dots, heat maps, distributions."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")  # files, not windows

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from scipy import stats as distributions

from experiments.results.stats import Summary
from experiments.storage import disk

_WIDTH, _HEIGHT = 4.8, 3.8  # inches of a panel
_LETTER = 0.085  # average width of a letter of the legend, in inches

# Colors that color-blind readers can tell apart. A method has one color in all figures, its ASAM
# form the same; further methods take the remaining ones in turn.
_BLACK, _BLUE, _RED, _GREEN, _PINK, _ORANGE, _SKY = (
    "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
)  # fmt: skip
_COLORS = {
    "none": _BLACK,
    "sam": _BLUE,
    "asam": _SKY,
    "lookbehind_sam": _RED,
    "lookbehind_asam": _RED,
    "multistep_sam": _GREEN,
    "multistep_asam": _GREEN,
    "lookahead_sam": _PINK,
    "lookahead_asam": _PINK,
    "ae_sam": _ORANGE,
    "ae_looksam": _GREEN,
    "ae_lookbehind_sam": _PINK,
}
# Lines and markers for black and white, and for settings of one method.
_LINES = ["-", "--", "-.", ":"]
_MARKERS = ["o", "s", "^", "D", "v"]


class Style(NamedTuple):
    """Color, line and marker of a series in Matplotlib's terms."""

    color: str
    line: str
    marker: str


def styles(methods: Sequence[str]) -> list[Style]:
    """A style for each series by the name of its method; equal methods differ in their lines."""
    others = list(dict.fromkeys(name for name in methods if name not in _COLORS))
    palette = list(dict.fromkeys(_COLORS.values()))
    unused = [c for c in palette if c not in map(_COLORS.get, methods)] or palette
    seen: Counter[str] = Counter()
    found = []
    for place, name in enumerate(methods):
        color = _COLORS.get(name) or unused[others.index(name) % len(unused)]
        # A second series of a color takes the next line; markers differ between colors too.
        line = _LINES[seen[color] % len(_LINES)]
        found.append(Style(color, line, _MARKERS[place % len(_MARKERS)]))
        seen[color] += 1
    return found


def panels(
    titles: Sequence[str], height: float = _HEIGHT, columns: int | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title, by default in balanced rows of at most three."""
    columns = columns or -(-len(titles) // -(-len(titles) // 3))
    rows = -(-len(titles) // columns)
    # At least 6.5 inches, to leave room for the legend below a single panel.
    figure = plt.figure(figsize=(max(_WIDTH * columns, 6.5), height * rows))
    figure.set_layout_engine("constrained", wspace=0.05, hspace=0.05)
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(len(titles))]
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(textwrap.fill(title, 42), fontsize=10)
        axis.grid(alpha=0.3)
    return figure, axes


def legend(figure: Figure, named: Mapping[str, Style], extra: Sequence[Line2D] = ()) -> None:
    """Names the series below the panels."""
    handles = [
        Line2D([], [], color=color, linestyle=line, marker=marker, ms=5, label=name)
        for name, (color, line, marker) in named.items()
    ]
    handles += extra
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, int(figure.get_figwidth() / (_LETTER * longest + 0.9)))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=3.5
    )


def curve(axis: Axes, x: Any, y: Summary, style: Style, scale: float = 1.0) -> None:
    """A line at the mean over seeds with a band of one standard deviation."""
    color, line, marker = style
    mean, std = scale * y.mean, None if y.std is None else scale * y.std
    every = max(1, len(mean) // 8)
    axis.plot(x, mean, color=color, linestyle=line, marker=marker, markevery=every, ms=4)
    if std is not None:
        axis.fill_between(x, mean - std, mean + std, color=color, alpha=0.12, linewidth=0)


def bars(
    axis: Axes, x: Any, mean: Any, style: Style, *, xerr: Any = None, yerr: Any = None
) -> None:
    """A line with markers and error bars."""
    color, line, marker = style
    axis.errorbar(
        x, mean, xerr=xerr, yerr=yerr, color=color, linestyle=line, marker=marker,
        ms=5, capsize=2, linewidth=1.3,
    )  # fmt: skip


def dots(
    axis: Axes,
    rows: Mapping[str, tuple[float | None, float | None]],
    label: str,
    published: Mapping[str, tuple[float, float | None]] | None = None,
) -> None:
    """A dot plot: names from top to bottom, each with its value and error bar.

    Args:
      axis: the panel.
      rows: name -> value (None: no dot) and half the length of its bar (None: no bar).
      label: the number and what the bars are, below the axis.
      published: name -> value and deviation in the paper, as hollow diamonds.
    """
    lower = 0.25 if any(value is not None for value, _ in rows.values()) else 0.0
    for values, place, marker in (rows, 0.0, "o"), (published or {}, lower, "D"):
        for row, name in enumerate(rows):
            value, error = values.get(name, (None, None))
            if value is not None:
                face, color = (_BLUE, _BLUE) if values is rows else ("none", "0.4")
                axis.errorbar(
                    value, row + place, xerr=error, fmt=marker, color=color, markerfacecolor=face,
                    ms=5, capsize=3,
                )  # fmt: skip
    axis.set_yticks(range(len(rows)), list(rows), fontsize=8)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(label)


def heat_map(
    axis: Axes,
    x: Sequence[float],
    y: Sequence[float],
    values: np.ndarray,
    label: str,
    *,
    center: float | None = None,
    decimals: int = 1,
) -> None:
    """Cells with their numbers and a color bar; missing cells stay blank.

    Args:
      axis: the panel.
      x: labels of the columns.
      y: labels of the rows, from bottom to top.
      values: ``[row, column]``.
      label: name and unit of the number, at the color bar.
      center: a reference value, drawn white, with blue above and red below.
      decimals: digits behind the point.
    """
    norm = None
    if center is not None and np.isfinite(values).any():
        spread = max(float(np.nanmax(np.abs(values - center))), 1e-9)
        norm = TwoSlopeNorm(center, center - spread, center + spread)
    image = axis.imshow(
        values, cmap="viridis" if norm is None else "RdBu", norm=norm, origin="lower", aspect="auto"
    )
    axis.set_xticks(range(len(x)), [f"{value:g}" for value in x])
    axis.set_yticks(range(len(y)), [f"{value:g}" for value in y])
    axis.grid(visible=False)
    axis.figure.colorbar(image, ax=axis, label=label)
    box = {"facecolor": "white", "alpha": 0.6, "edgecolor": "none", "pad": 1.5}
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = f"{value:.{decimals}f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=9, bbox=box)


def histogram(axis: Axes, samples: np.ndarray, label: str, bins: int = 30) -> None:
    """A histogram, and the normal density of the same mean and deviation."""
    samples = samples[np.isfinite(samples)]
    axis.hist(samples, bins, density=True, color=_SKY, edgecolor="white", linewidth=0.4)
    mean, std = samples.mean(), samples.std(ddof=1)
    if std > 0:
        x = np.linspace(mean - 4 * std, mean + 4 * std, 200)
        axis.plot(x, distributions.norm.pdf(x, mean, std), color="black", linewidth=1.2)
    axis.set(xlabel=label, ylabel="density")


def normal_quantiles(axis: Axes, samples: np.ndarray, label: str) -> None:
    """A Q-Q plot of standardized samples against the normal distribution."""
    samples = samples[np.isfinite(samples)]
    standardized = (samples - samples.mean()) / samples.std(ddof=1)
    (theoretical, ordered), _ = distributions.probplot(standardized)
    axis.plot([-3.2, 3.2], [-3.2, 3.2], color="0.6", linewidth=2, zorder=0)
    axis.plot(theoretical, ordered, "o", color=_BLUE, ms=3)
    axis.set(xlabel="quantiles of the normal distribution", ylabel=f"{label}, standardized")


def logarithmic(axis: Axes, which: str) -> None:
    """Makes the axis "x" or "y" logarithmic, with plain numbers as tick labels."""
    axis.set(**{f"{which}scale": "log"})
    ticks = {"x": axis.xaxis, "y": axis.yaxis}[which]
    low, high = ticks.get_view_interval()
    # Ticks at 1, 2 and 5 over one or two decades, at powers of ten over more.
    ticks.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
    ticks.set_major_formatter(FormatStrFormatter("%g"))
    ticks.set_minor_formatter(NullFormatter())


def zoom(axis: Axes, curves: Sequence[np.ndarray]) -> None:
    """Fits the vertical axis to all but the first fifth of curves ``[seed, epoch]``."""
    late = np.concatenate([values[:, values.shape[1] // 5 :].ravel() for values in curves])
    late = late[np.isfinite(late)]
    if late.size:
        margin = 0.05 * np.ptp(late) + 1e-3
        axis.set_ylim(late.min() - margin, late.max() + margin)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes ``NAME.png`` and ``NAME.svg``; equal numbers give equal bytes."""
    files = [folder / f"{name}.png", folder / f"{name}.svg"]
    with disk.replacing(files[0]) as draft:
        figure.savefig(draft, dpi=130)
    with plt.rc_context({"svg.hashsalt": name}), disk.replacing(files[1]) as draft:
        figure.savefig(draft, metadata={"Date": None})
    plt.close(figure)
    return files
