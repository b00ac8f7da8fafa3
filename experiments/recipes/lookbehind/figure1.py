"""Figure 1: training loss against m-sharpness at the end of training."""

from experiments.recipes import drawings, quantities, rows, sharpness_quantities
from experiments.recipes.lookbehind import _radii
from experiments.recipes.recipe import LAPTOP, Cell, Recipe


def _cells(scale: str) -> list[Cell]:
    return _radii.cells(scale, ("SAM",))


RECIPE = Recipe(
    title="Training loss against m-sharpness; larger points: larger training rho",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[
        sharpness_quantities.m_sharpness_at(0),
        sharpness_quantities.checkpoint_loss(),
        quantities.test_accuracy(),
    ],
    draw=drawings.scatter("m_sharpness", "loss"),
    choices=[
        "k and alpha are not stated: k = 5 (2 at scale gpu), alpha = 0.5.",
        "m-sharpness and training loss are means over at most 2,048 training images (all 704 at "
        "scale laptop), those of the paper over the whole training set.",
        "m-sharpness at radius 0.05 with m = the batch size; the maximum is that of one ascent "
        "step, BatchNorm with its running statistics, training images without augmentation.",
    ],
    limits={
        LAPTOP: rows.LAPTOP_LIMITS
        + rows.LAPTOP_RADII
        + " Training loss is on wrong labels too: a low one means that they "
        "were memorized, so that lower is not better here.",
        "gpu": rows.GPU_BUDGET,
    },
    against=_radii.against(("SAM",)),
    measures=sharpness_quantities.m_sharpness_measure,
)
