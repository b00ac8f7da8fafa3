"""Figure 3: m-sharpness over the radius, in the balls of SAM and of ASAM."""

from experiments.recipes import drawings, rows, sharpness_quantities
from experiments.recipes.lookbehind import _radii
from experiments.recipes.recipe import Cell, Recipe


def _cells(scale: str) -> list[Cell]:
    return [
        each._replace(column=f"{family}: {each.column}")
        for family in rows.FAMILIES
        for each in _radii.cells(scale, (family,))
    ]


RECIPE = Recipe(
    title="m-sharpness over the radius",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[
        sharpness_quantities.m_sharpness_at(2),
        *sharpness_quantities.m_sharpness_curves(),
    ],
    draw=drawings.vectors(
        "x_{}",
        ("sam_sharpness", "asam_sharpness"),
        ("radius of SAM's ball", "radius of ASAM's ball"),
        log_y=True,
        log_x=True,
        by_x=True,
    ),
    choices=[
        "k and alpha are not stated: k = 5 (2 at scale gpu), alpha = 0.5.",
        "m is not stated: the batch size. The maximum is that of one ascent step.",
        "m-sharpness is a mean over at most 2,048 training images (all 704 at scale laptop), that "
        "of the paper over the whole training set.",
        "The table has the third radius of SAM's ball (0.2 at scale laptop, else 1), for the rows "
        "of ASAM too, where the paper takes ASAM's ball (equation 6): that one is in the figure "
        "and in the JSON file.",
        rows.ASAM_SETTINGS,
    ],
    limits={"laptop": rows.LAPTOP_LIMITS + rows.LAPTOP_RADII, "gpu": rows.GPU_BUDGET},
    against=_radii.against(rows.FAMILIES),
    measures=sharpness_quantities.m_sharpness_measure,
)
