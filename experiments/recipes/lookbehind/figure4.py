"""Figure 4: test accuracy under multiplicative noise on the weights."""

from experiments.recipes import drawings, rows, sharpness_quantities
from experiments.recipes.lookbehind import table1
from experiments.recipes.recipe import Cell, Recipe

_ROWS = [row for row in table1.PUBLISHED_ROWS if "average" not in row and row != "Lookahead-SGD"]


def _cells(scale: str) -> list[Cell]:
    return [each for each in table1.cells(scale) if each.row in _ROWS]


RECIPE = Recipe(
    title="Test accuracy under noise on the weights",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=sharpness_quantities.noise_quantities(),
    draw=drawings.vectors("x_{}", ("accuracy_over_sigma",), ("noise sigma",)),
    choices=[
        "The noise levels are not stated: sigma = 0 to 0.5.",
        "BatchNorm's statistics are estimated again after the noise, on at most 2,048 training "
        "images. Ten draws for each trained model, also on ImageNet, where the paper has three, on "
        "at most 10,000 of its validation images.",
        "Deviations are over training seeds, those of the paper over draws of the noise. "
        "Lookahead-SGD and the rows with averaged gradients are left out.",
        rows.NO_K_OR_ALPHA,
        rows.ASAM_SETTINGS,
    ],
    limits=rows.LIMITS,
    against={row: "SAM" for row in _ROWS if row.endswith("-SAM")}
    | {row: "ASAM" for row in _ROWS if row.endswith("-ASAM")}
    | {"SAM": "SGD", "ASAM": "SGD"},
    measures=sharpness_quantities.noise_measure,
)
