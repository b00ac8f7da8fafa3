"""Figure 6: sensitivity to the training radius rho."""

from typing import Any

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import Cell, Recipe

_MULTIPLES: dict[str, dict[str, tuple[float, ...]]] = {  # of the default radius
    "laptop": {"SAM": (0.5, 1, 2), "ASAM": (0.5, 1, 2)},
    "gpu": {"SAM": (1, 2, 10), "ASAM": (1, 2, 4)},
    "paper": {"SAM": (1, 2, 4, 10), "ASAM": (1, 2, 4)},
}


def _cells(scale: str) -> list[Cell]:
    (bed,) = beds.lookbehind(scale, [beds.RESNET_34])
    cells = []
    for family in rows.FAMILIES:
        default = bed.rho if family == "SAM" else bed.asam_rho
        column = f"{family}: {bed.column}"
        for multiple in _MULTIPLES[scale][family]:
            rho = round(multiple * default, 6)
            place: dict[str, Any] = {"column": column, "x": rho}
            row = f"{family}, rho = {rho:g}"
            cells.append(beds.cell(bed, row, rows.sam(family, rho), series=family, **place))
            for k in rows.K[scale]:
                forms = rows.forms(family, k, 0.5, rho)
                for form in list(forms)[1:]:
                    series = f"{form}, k = {k}"
                    row = f"{series}, rho = {rho:g}"
                    cells.append(beds.cell(bed, row, forms[form], series=series, **place))
    return cells


def _against() -> dict[str, str]:
    found = {}
    for family, radii in ("SAM", (0.05, 0.1, 0.2, 0.4, 0.5)), ("ASAM", (0.5, 1.0, 2.0, 4.0)):
        for rho in radii:
            for form in ("Multistep", "Lookahead", "Lookbehind"):
                for k in rows.K["paper"]:
                    row = f"{form}-{family}, k = {k}, rho = {rho:g}"
                    found[row] = f"{family}, rho = {rho:g}"
    return found


RECIPE = Recipe(
    title="Sensitivity to rho",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[quantities.test_accuracy(), quantities.best_accuracy(), quantities.train_loss()],
    draw=drawings.lines("test_accuracy", "rho", log_x=True),
    choices=[
        "The grid is not stated but for its ends: at scale paper SAM 0.05, 0.1, 0.2, 0.5 and ASAM "
        "0.5, 1, 2; at scale gpu SAM 0.05, 0.1, 0.5.",
        "alpha is not stated: 0.5.",
        rows.LAST_EPOCH,
        rows.ASAM_SETTINGS,
    ],
    limits={
        "laptop": rows.LAPTOP_LIMITS + rows.LAPTOP_RADII + rows.TWO_K,
        "gpu": rows.GPU_BUDGET + rows.TWO_K,
    },
    against=_against(),
)
