"""Table 5: the epoch of the best test accuracy of SAM and ASAM."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import Cell, Recipe

_PUBLISHED = {
    ("CIFAR-10", "ResNet-34"): ((164.66, 9.87), (164.00, 12.83)),
    ("CIFAR-10", "WRN-28-2"): ((141.33, 15.45), (158.66, 29.45)),
    ("CIFAR-100", "ResNet-50"): ((167.66, 21.06), (178.66, 3.77)),
    ("CIFAR-100", "WRN-28-10"): ((172.00, 9.00), (179.50, 4.50)),
    ("ImageNet", "ResNet-18"): ((83.66, 2.05), (86.00, 2.16)),
}


def _cells(scale: str) -> list[Cell]:
    return [
        beds.cell(bed, family, rows.sam(family))
        for bed in beds.lookbehind(scale)
        for family in rows.FAMILIES
    ]


RECIPE = Recipe(
    title="Epoch of the best test accuracy of SAM and ASAM",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[
        quantities.best_epoch(),
        quantities.best_accuracy(),
        quantities.test_accuracy(),
    ],
    draw=drawings.rows("best_epoch"),
    choices=[
        "The paper's deviations divide by n; ours by n - 1.",
        rows.ASAM_SETTINGS,
        rows.IMAGENET,
        "Of several epochs with the best accuracy the first one counts.",
    ],
    limits={
        "laptop": rows.LAPTOP_LIMITS + " With wrong labels the best epoch is early because later "
        "epochs memorize them, which is another reason than the paper's.",
        "gpu": rows.GPU_BUDGET,
    },
    published={
        beds.column(*pair): dict(zip(rows.FAMILIES, values, strict=True))
        for pair, values in _PUBLISHED.items()
    },
)
