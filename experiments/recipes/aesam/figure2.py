"""Figure 2: mean squared norm of minibatch gradients during training, ERM and SAM."""

from experiments.recipes import drawings, sharpness_quantities
from experiments.recipes.aesam import _gradients
from experiments.recipes.recipe import Cell, Recipe


def _cells(scale: str) -> list[Cell]:
    return _gradients.cells(scale, ("ERM", "SAM"), ("CIFAR-100",))


RECIPE = Recipe(
    title="Mean squared norm of minibatch gradients during training",
    cells=_cells,
    seeds=_gradients.SEEDS,
    quantities=sharpness_quantities.gradient_curves("expected_squared_norm"),
    draw=drawings.vectors("x_{}", ("expected_squared_norm",), ("epoch",), log_y=True),
    choices=_gradients.CHOICES,
    limits=_gradients.LIMITS,
    against={"SAM": "ERM"},
    measures=sharpness_quantities.gradient_measure,
)
