"""Figure 10: adaptive alpha during training."""

import numpy as np

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import LAPTOP, Cell, Quantity, Recipe

_PAIRS = [pair for pair in beds.LOOKBEHIND if pair[0] != "ImageNet"]


def _cells(scale: str) -> list[Cell]:
    cells = []
    for bed in beds.lookbehind(scale, _PAIRS):
        if scale == LAPTOP:
            bed = bed.with_changes(schedule="step")
        for family in rows.FAMILIES:
            for k in rows.K[scale]:
                method = rows.lookbehind(family, k, "adaptive")
                cells.append(beds.cell(bed, f"{family}, k = {k}", method))
    return cells


RECIPE = Recipe(
    title="Adaptive alpha during training",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[
        Quantity(
            "mean_alpha",
            "alpha*, mean over training",
            lambda run: float(np.mean([line["train_alpha"] for line in run.history])),
            3,
            None,
        ),
        Quantity("last_alpha", "last epoch", lambda run: run.history[-1]["train_alpha"], 3, None),
        Quantity(
            "alpha_before_drop",
            "epoch before the first drop of the rate",
            lambda run: run.history[len(run.history) // 4 - 1]["train_alpha"],
            3,
            None,
        ),
        Quantity(
            "alpha_after_drop",
            "epoch after it",
            lambda run: run.history[len(run.history) // 4]["train_alpha"],
            3,
            None,
        ),
        quantities.curve("train_alpha", "alpha*"),
    ],
    draw=drawings.curves("train_alpha_curve"),
    choices=[
        "rho is the default. alpha* is that of the whole model, the mean over the steps of an "
        "epoch.",
        rows.ADAPTIVE_ALPHA,
        rows.ASAM_SETTINGS,
    ],
    limits={
        LAPTOP: rows.LAPTOP_LIMITS
        + rows.TWO_K
        + " The learning rate drops after 25%, 50% and 75% of the epochs.",
        "gpu": rows.GPU_BUDGET + rows.TWO_K,
    },
    against={f"{family}, k = {k}": f"{family}, k = 2" for family in rows.FAMILIES for k in (5, 10)},
)
