"""Figure 1: variance of the gradient during training, ERM and SAM."""

from experiments.recipes import drawings, sharpness_quantities
from experiments.recipes.aesam import _gradients
from experiments.recipes.recipe import Cell, Recipe


def _cells(scale: str) -> list[Cell]:
    return _gradients.cells(scale, ("ERM", "SAM"), ("CIFAR-100",))


RECIPE = Recipe(
    title="Variance of the gradient during training",
    cells=_cells,
    seeds=_gradients.SEEDS,
    quantities=sharpness_quantities.gradient_curves(
        "variance", "expected_squared_norm", "squared_norm"
    ),
    draw=drawings.vectors("x_{}", ("variance",), ("epoch",), log_y=True),
    choices=_gradients.CHOICES,
    limits=_gradients.LIMITS,
    against={"SAM": "ERM"},
    measures=sharpness_quantities.gradient_measure,
)
