"""Cells of Figures 1 and 3: SAM and ASAM and their forms, trained with several radii."""

from experiments.recipes import beds, rows
from experiments.recipes.recipe import Cell

MULTIPLES = (1, 2, 4)  # of the default radius: SAM 0.05, 0.1, 0.2; ASAM 0.5, 1, 2
_LAPTOP_MULTIPLES = (0.5, 1, 2)  # 0.1, 0.2, 0.4 and 0.5, 1, 2


def cells(scale: str, families: tuple[str, ...]) -> list[Cell]:
    """A row for each form and radius."""
    (bed,) = beds.lookbehind(scale, [beds.RESNET_34])
    k = rows.default_k(scale, bed.column)
    found = []
    for family in families:
        default = bed.rho if family == "SAM" else bed.asam_rho
        for multiple in _LAPTOP_MULTIPLES if scale == "laptop" else MULTIPLES:
            rho = round(multiple * default, 6)
            for series, method in rows.forms(family, k, 0.5, rho).items():
                row = f"{series}, rho = {rho:g}"
                found.append(beds.cell(bed, row, method, series=series, x=rho))
    return found


def against(families: tuple[str, ...]) -> dict[str, str]:
    """Each form is compared with SAM or ASAM trained with the same radius."""
    found = {}
    for family in families:
        radii = {"SAM": (0.05, 0.1, 0.2, 0.4), "ASAM": (0.5, 1.0, 2.0, 4.0)}[family]
        for rho in radii:
            for form in ("Multistep", "Lookahead", "Lookbehind"):
                found[f"{form}-{family}, rho = {rho:g}"] = f"{family}, rho = {rho:g}"
    return found
