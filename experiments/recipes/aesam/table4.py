"""Table 4: LookSAM over k, with wrong training labels."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.aesam import _noise
from experiments.recipes.recipe import Cell, Recipe

_PERIODS = (2, 3, 4, 5)


def _cells(scale: str) -> list[Cell]:
    return [
        beds.cell(
            beds.noisy(scale, level),
            f"LookSAM (k = {period})",
            rows.aesam(period=period, alpha=_noise.looksam_alpha(scale, level))["LookSAM"],
        )
        for level in _noise.LEVELS
        for period in _PERIODS
    ]


RECIPE = Recipe(
    title="LookSAM over k with wrong training labels",
    cells=_cells,
    seeds={"laptop": 3, "gpu": 2, "paper": 5},
    quantities=[quantities.test_accuracy(), quantities.percent_sam(), quantities.best_accuracy()],
    draw=drawings.rows("test_accuracy"),
    choices=[
        *_noise.CHOICES,
        rows.NO_PUBLISHED_CELLS,
    ],
    limits=_noise.LIMITS,
    against={f"LookSAM (k = {period})": "LookSAM (k = 2)" for period in _PERIODS[1:]},
)
