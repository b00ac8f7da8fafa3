"""Figure 7: squared norm of the full gradient during training with AE-SAM."""

from experiments.recipes import beds, drawings, rows, sharpness_quantities
from experiments.recipes.aesam import _gradients
from experiments.recipes.recipe import Cell, Recipe


def _cells(scale: str) -> list[Cell]:
    method = rows.aesam()["AE-SAM"]
    return [beds.cell(bed, "AE-SAM", method) for bed in beds.aesam_networks(scale, beds.AESAM)]


RECIPE = Recipe(
    title="Squared norm of the full gradient during training with AE-SAM",
    cells=_cells,
    seeds=_gradients.SEEDS,
    quantities=sharpness_quantities.gradient_curves("squared_norm"),
    draw=drawings.vectors("x_{}", ("squared_norm",), ("epoch",), log_y=True),
    choices=[
        "The gradient of the mean loss over 2,048 training images (all 704 at scale laptop), "
        "without augmentation, BatchNorm with the statistics of minibatches.",
    ],
    limits=_gradients.LIMITS,
    measures=sharpness_quantities.gradient_measure,
)
