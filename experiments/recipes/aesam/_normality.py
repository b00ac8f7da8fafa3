"""Recipes of the figures about the distribution of squared gradient norms (Figures 3, 8, 9)."""

from collections.abc import Sequence

from experiments.recipes import beds, drawings, rows, sharpness_quantities
from experiments.recipes.aesam import _gradients
from experiments.recipes.recipe import Cell, MeasureSpec, Recipe
from experiments.reporting import charts

_SAMPLES = 400
HISTOGRAM, QQ = charts.histogram, charts.normal_quantiles


def _measures(scale: str) -> list[MeasureSpec]:
    return sharpness_quantities.gradient_measure(scale, _SAMPLES)


def recipe(
    title: str,
    pairs: Sequence[tuple[str, str]],
    panels: Sequence,
    fractions: Sequence[float],
    *,
    several_networks: bool,
) -> Recipe:
    """The recipe of a histogram or Q-Q plot, or both.

    Args:
      title: its title.
      pairs: datasets and networks.
      panels: how samples are drawn.
      fractions: the epochs, as fractions of all.
      several_networks: whether scale laptop has two networks.
    """

    def cells(scale: str) -> list[Cell]:
        chosen = beds.aesam_networks if several_networks else beds.aesam
        method = rows.aesam()["AE-SAM"]
        return [beds.cell(bed, "AE-SAM", method) for bed in chosen(scale, list(pairs))]

    return Recipe(
        title=title,
        cells=cells,
        seeds=_gradients.SEEDS,
        quantities=sharpness_quantities.gradient_samples(fractions),
        draw=drawings.distributions("sampled_squared_norms", *panels),
        choices=[
            "The method that trained the network is not stated: AE-SAM, which relies on the "
            "assumption.",
            "400 random minibatches of at most 2,048 training images (704 at scale laptop), at the "
            "kept checkpoints nearest to "
            + ", ".join(f"{fraction:.0%}" for fraction in fractions)
            + " of the epochs (20%, 60% and 80% at scale laptop); the figure shows the first seed.",
            "The correlation of the Q-Q plot is 1 for an exactly normal sample; samples of 400 "
            "normal numbers have at least 0.993 in 95% of the cases.",
        ],
        limits=_gradients.LIMITS,
        measures=_measures,
    )
