"""Figure 15: training loss of AE-SAM and SS-SAM."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import Cell, Recipe

_ROWS = ("SS-SAM", "AE-SAM")


def _cells(scale: str) -> list[Cell]:
    return [
        beds.cell(bed, row, rows.aesam()[row])
        for bed in beds.aesam(scale, [("CIFAR-10", "ResNet-18"), ("CIFAR-100", "ResNet-18")])
        for row in _ROWS
    ]


RECIPE = Recipe(
    title="Training loss of AE-SAM and SS-SAM",
    cells=_cells,
    seeds=rows.FIVE_SEEDS,
    quantities=[
        quantities.train_loss(),
        quantities.test_accuracy(),
        quantities.curve("train_loss", "training loss"),
    ],
    draw=drawings.curves("train_loss_curve"),
    choices=["Dataset and network are not stated: ResNet-18 on CIFAR-10 and CIFAR-100."],
    limits=rows.LIMITS,
    against={"AE-SAM": "SS-SAM"},
)
