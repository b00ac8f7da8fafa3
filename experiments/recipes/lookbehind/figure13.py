"""Figure 13: Lookbehind over alpha and k, all networks."""

from experiments.recipes import beds, heat_maps, quantities, rows
from experiments.recipes.lookbehind import _heat_maps
from experiments.recipes.recipe import LAPTOP, Cell, Recipe


def _cells(scale: str) -> list[Cell]:
    return _heat_maps.cells(scale, beds.LOOKBEHIND, "Lookbehind", rows.lookbehind)


RECIPE = Recipe(
    title="Lookbehind over alpha and k on all networks; white: SAM or ASAM",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[quantities.test_accuracy(), quantities.best_accuracy()],
    draw=heat_maps.over_x_and_y("test_accuracy", "k", "alpha", reference=rows.FAMILIES),
    choices=[
        *_heat_maps.CHOICES,
        "The networks are not listed: those of Table 1.",
        rows.IMAGENET,
    ],
    limits={
        LAPTOP: rows.LAPTOP_LIMITS + rows.TWO_K + " The maps are those of lookbehind.figure7.",
        "gpu": rows.GPU_BUDGET + rows.TWO_K,
    },
    against=_heat_maps.against("Lookbehind"),
)
