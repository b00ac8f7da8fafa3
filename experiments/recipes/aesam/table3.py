"""Table 3: test accuracy and %SAM with wrong training labels."""

from experiments.recipes import drawings, quantities, rows
from experiments.recipes.aesam import _noise, table1
from experiments.recipes.recipe import LAPTOP, Cell, Recipe


def _cells(scale: str) -> list[Cell]:
    networks = ("ResNet-18",) if scale == LAPTOP else ("ResNet-18", "ResNet-32")
    return [each for network in networks for each in _noise.cells(scale, network)]


RECIPE = Recipe(
    title="Test accuracy and %SAM with wrong training labels",
    cells=_cells,
    seeds={"laptop": 3, "gpu": 2, "paper": 5},
    quantities=[
        quantities.test_accuracy(),
        quantities.percent_sam(),
        quantities.best_accuracy(),
        quantities.train_accuracy(),
    ],
    draw=drawings.rows("test_accuracy"),
    choices=[
        *_noise.CHOICES,
        *rows.AESAM_CHOICES[1:],
        rows.NO_PUBLISHED_CELLS,
    ],
    limits={
        LAPTOP: _noise.LAPTOP_LIMITS + " One network; aesam.figure11 has the other.",
        "gpu": rows.GPU_BUDGET,
    },
    against=table1.AGAINST | {"AE-LookSAM": "SAM"},
    t_test=True,
)
