"""Figure 7: Lookbehind's test accuracy over alpha and k."""

from experiments.recipes import beds, heat_maps, quantities, rows
from experiments.recipes.lookbehind import _heat_maps
from experiments.recipes.recipe import Cell, Recipe


def _cells(scale: str) -> list[Cell]:
    return _heat_maps.cells(scale, [beds.RESNET_34], "Lookbehind", rows.lookbehind)


RECIPE = Recipe(
    title="Lookbehind over alpha and k; white: SAM or ASAM",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[quantities.test_accuracy(), quantities.best_accuracy()],
    draw=heat_maps.over_x_and_y("test_accuracy", "k", "alpha", reference=rows.FAMILIES),
    choices=_heat_maps.CHOICES,
    limits=rows.TWO_K_LIMITS,
    against=_heat_maps.against("Lookbehind"),
)
