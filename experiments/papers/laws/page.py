"""The page of measured edges: tables and figure."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.results import figures
from experiments.results.markdown import markdown_table

_SHOWN = {  # row -> method, for its color
    "SGD": "none",
    "USAM": "usam",
    "SAM": "sam",
    "Multistep-SAM, k = 3": "multistep_sam",
    "Lookbehind-SAM, k = 2, alpha = 1": "lookbehind_sam",
}
_BOUNCING = {"SGD": "none", "USAM": "usam", "SAM": "sam", "Lookbehind-SAM": "lookbehind_sam"}


def markdown(result: dict[str, Any]) -> str:
    """Both tables, how they were measured, and the figure."""
    parts = [
        "# Edges of stability, predicted and measured",
        "Written by `python -m experiments.reproduce laws.edges`. A tanh network of 64, 48, 48 and "
        "10 units on the first 1,000 of scikit-learn's digits; full batches, squared error, "
        f"float32, one seed, {result['steps']:,} steps. l is the Hessian's largest eigenvalue; "
        "the numbers are medians over the last 60% of training, the ratio of measured to predicted "
        "with its range. The last column divides l by the edge of the optimizer alone, 2 / eta.",
        _table(result["edges"]),
        "The same network with cross-entropy and minibatches of 100 drawn at random: the curvature "
        "falls as the examples are fitted, and training stays far below the edge, so that the law "
        "is no more than an upper bound there.",
        _table(result["cross_entropy"]),
        "![Largest eigenvalue, bounce and spectrum](laws.edges.svg)",
        "Left: the largest eigenvalue during training (lines) and the edge that the law predicts "
        "from the gradient norm of the moment (dots). Middle: SAM and Lookbehind end on a bounce "
        "whose amplitude is known (dotted). Right: under SAM on every second step the eigenvalues "
        "avoid the curvatures at which two steps together are unstable.",
    ]
    return "\n\n".join(parts) + "\n"


def _table(rows: list[dict[str, Any]]) -> str:
    return markdown_table(
        [
            {
                "method": row["name"],
                "c, d, or law": row["law"],
                "eta": f"{row['learning_rate']:g}",
                "rho": f"{row['rho']:g}",
                "predicted l": f"{row['median_predicted']:.2f}",
                "measured l": f"{row['median_curvature']:.2f}",
                "ratio": "{ratio:.2f} [{lowest_ratio:.2f}, {highest_ratio:.2f}]".format(**row),
                "without the law": f"{row['without_method']:.2f}",
            }
            for row in rows
        ]
    )


def draw(result: dict[str, Any]) -> Figure:
    """Three panels: eigenvalues over training, the bounce, the spectrum between bands."""
    titles = [
        "Largest eigenvalue and predicted edge",
        "Distance to the minimum of a quadratic",
        "Eigenvalues under SAM on every second step",
    ]
    figure, axes = figures.panels(titles)
    _draw_edges(axes[0], result["edges"])
    _draw_bounce(axes[1], result["bounce"])
    _draw_bands(axes[2], result["bands"])
    return figure


def _draw_edges(axis: Axes, rows: list[dict[str, Any]]) -> None:
    by_name = {row["name"]: row for row in rows}
    for name, style in zip(_SHOWN, figures.styles(list(_SHOWN.values())), strict=True):
        row = by_name[name]
        axis.plot(row["step"], row["curvature"], color=style.color, label=name)
        axis.plot(row["step"], row["predicted"], color=style.color, linestyle=":", marker=".")
    axis.set(xlabel="training step", ylabel="curvature", yscale="log", ylim=(2.5, 40))
    axis.legend(fontsize=7, loc="upper right", ncols=2)


def _draw_bounce(axis: Axes, result: dict[str, Any]) -> None:
    for name, style in zip(_BOUNCING, figures.styles(list(_BOUNCING.values())), strict=True):
        axis.plot(result["distance"][name], color=style.color, label=name)
    for amplitude in result["amplitude"].values():
        axis.axhline(amplitude, color="gray", linestyle=":")
    axis.set(xlabel="training step", ylabel="distance", yscale="log", ylim=(1e-4, 2))
    axis.legend(fontsize=7)


def _draw_bands(axis: Axes, result: dict[str, Any]) -> None:
    curvature, factor = np.array(result["curvature"]), np.array(result["factor"])
    unstable, everywhere = factor > 1, axis.get_xaxis_transform()
    axis.fill_between(
        curvature, 0, 1, unstable, transform=everywhere, color="red", alpha=0.2, label="unstable"
    )
    axis.plot(curvature, factor, color="black", label="factor of two steps")
    eigenvalues = result["eigenvalues"]
    axis.plot(eigenvalues, np.full(len(eigenvalues), 0.08), "|", ms=14, label="eigenvalues")
    axis.axhline(1, color="gray", linewidth=0.8)
    axis.set(xlabel="curvature", ylabel="factor of two steps", ylim=(0, 2))
    axis.legend(fontsize=7)
