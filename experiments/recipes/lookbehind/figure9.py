"""Figure 9: ascent steps of rho (reach up to rho * k) against steps of rho / k."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import Cell, Recipe

_VARIANTS: dict[str, tuple[float | str, str]] = {
    "steps of rho": (0.5, ""),
    "steps of rho / k": (1.0, ",rho_over_k=true"),
    "steps of rho, adaptive alpha": ("adaptive", ""),
}


def _cells(scale: str) -> list[Cell]:
    (bed,) = beds.lookbehind(scale, [beds.RESNET_34])
    return [
        beds.cell(
            bed,
            f"{name}, k = {k}",
            rows.lookbehind(family, k, alpha, extra=extra),
            column=f"Lookbehind-{family}: {bed.column}",
            series=name,
            x=k,
        )
        for family in rows.FAMILIES
        for name, (alpha, extra) in _VARIANTS.items()
        for k in rows.K[scale]
    ]


RECIPE = Recipe(
    title="Steps of rho against steps of rho / k",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[quantities.test_accuracy(), quantities.best_accuracy(), quantities.train_loss()],
    draw=drawings.lines("test_accuracy", "k"),
    choices=[
        '"Without linear interpolation" is read as alpha = 1 with k descent steps of the learning '
        "rate.",
        "Static alpha is not stated: 0.5.",
        rows.ADAPTIVE_ALPHA,
        rows.LAST_EPOCH,
        rows.ASAM_SETTINGS,
    ],
    limits=rows.TWO_K_LIMITS,
    against={
        f"{name}, k = {k}": f"steps of rho / k, k = {k}"
        for name in _VARIANTS
        for k in (2, 5, 10)
        if name != "steps of rho / k"
    },
)
