"""Figure 14: training loss of AE-SAM."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.aesam import _gradients
from experiments.recipes.recipe import Cell, Recipe


def _cells(scale: str) -> list[Cell]:
    method = rows.aesam()["AE-SAM"]
    return [beds.cell(bed, "AE-SAM", method) for bed in beds.aesam_networks(scale, beds.AESAM)]


RECIPE = Recipe(
    title="Training loss of AE-SAM",
    cells=_cells,
    seeds=_gradients.SEEDS,
    quantities=[
        quantities.train_loss(),
        quantities.test_accuracy(),
        quantities.curve("train_loss", "training loss"),
    ],
    draw=drawings.curves("train_loss_curve"),
    choices=["The networks are not stated: those of Table 1."],
    limits=_gradients.LIMITS,
)
