"""Table 1: test accuracy and %SAM of seven methods on CIFAR-10 and CIFAR-100."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import Cell, Recipe

AGAINST = {
    "SAM": "ERM",
    "ESAM": "SAM",
    "SS-SAM": "ERM",
    "AE-SAM": "SS-SAM",
    "LookSAM": "ERM",
    "AE-LookSAM": "LookSAM",
}


def _cells(scale: str) -> list[Cell]:
    return [
        beds.cell(bed, row, method)
        for bed in beds.aesam(scale)
        for row, method in rows.aesam().items()
    ]


RECIPE = Recipe(
    title="Test accuracy and %SAM of seven methods",
    cells=_cells,
    seeds=rows.FIVE_SEEDS,
    quantities=[
        quantities.test_accuracy(),
        quantities.percent_sam(),
        quantities.best_accuracy(),
        quantities.train_accuracy(),
    ],
    draw=drawings.rows("test_accuracy"),
    choices=[
        *rows.AESAM_CHOICES,
        rows.NO_PUBLISHED_CELLS,
        "Patches of 16x16 would leave four tokens of a 32x32 image: ViT-S with patches of 4x4; "
        "PyramidNet-110 with alpha = 270.",
        "Whether the final runs train on the validation part again is not stated: at scale paper "
        "they train on all training images, with the standard augmentation.",
    ],
    limits=rows.LIMITS,
    against=AGAINST,
    t_test=True,
)
