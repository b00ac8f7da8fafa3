"""Recipes of the heat maps over lambda_1 and lambda_2 (Figures 5, 6, 12, 13)."""

from experiments.recipes import beds, heat_maps, quantities, rows
from experiments.recipes.aesam import _noise
from experiments.recipes.recipe import Cell, Quantity, Recipe

_GRID = (-2, -1, 0, 1, 2)


def recipe(title: str, method: str, quantity: Quantity, noise: float | None) -> Recipe:
    """A heat map of all pairs ``lambda_1 <= lambda_2``.

    Args:
      title: its title.
      method: ``AE-SAM`` or ``AE-LookSAM``.
      quantity: the number in the cells.
      noise: fraction of wrong labels; None for CIFAR without (digits at scale laptop).
    """

    def cells(scale: str) -> list[Cell]:
        if noise is None:
            (bed,) = beds.aesam(scale, [("CIFAR-10", "ResNet-18")])
        else:
            bed = beds.noisy(scale, noise)
        text = "ae_sam:rho={rho}"
        if method == "AE-LookSAM":
            text = f"ae_looksam:rho={{rho}},alpha={_noise.looksam_alpha(scale, noise or 0)}"
        return [
            beds.cell(
                bed,
                f"{method}, lambda_1 = {low}, lambda_2 = {high}",
                f"{text},lambda_1={low},lambda_2={high}",
                series=method,
                x=high,
                y=low,
            )
            for low in _GRID
            for high in _GRID
            if low <= high
        ]

    others = [quantities.percent_sam(), quantities.test_accuracy(), quantities.best_accuracy()]
    return Recipe(
        title=title,
        cells=cells,
        seeds={"laptop": 2, "gpu": 2, "paper": 5},
        quantities=[quantity, *(other for other in others if other.key != quantity.key)],
        draw=heat_maps.over_x_and_y(quantity.key, "lambda_2", "lambda_1"),
        choices=[
            "Dataset and network are not stated: CIFAR-10 and ResNet-18.",
            "rho and LookSAM's alpha are not stated: 0.05 and 0.5 (at scale laptop both 0.2); 0.5 "
            "is not in the paper's grid 0.1, 0.3, 0.6, 0.9.",
        ],
        limits=rows.LIMITS if noise is None else _noise.LIMITS,
    )
