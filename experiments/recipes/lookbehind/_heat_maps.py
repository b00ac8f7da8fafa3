"""Cells of the heat maps over alpha and k (Figures 7, 13 and 14)."""

from collections.abc import Callable

from experiments.recipes import beds, rows
from experiments.recipes.recipe import Cell


def cells(
    scale: str,
    pairs: list[tuple[str, str]],
    form: str,
    method: Callable[[str, int, float], str],
) -> list[Cell]:
    """SAM and ASAM, and a form of them for each alpha and k.

    Args:
      scale: the scale.
      pairs: datasets and networks.
      form: the form's name, e.g. ``Lookbehind``.
      method: ``(family, k, alpha) -> method string``.
    """
    found = []
    for bed in beds.lookbehind(scale, pairs):
        ks = (2,) if "ImageNet" in bed.column else rows.K[scale]
        for family in rows.FAMILIES:
            found.append(beds.cell(bed, family, rows.sam(family)))
            for alpha in rows.ALPHA:
                for k in ks:
                    row = f"{form}-{family}, alpha = {alpha}, k = {k}"
                    series = f"{form}-{family}"
                    found.append(
                        beds.cell(bed, row, method(family, k, alpha), series=series, x=k, y=alpha)
                    )
    return found


def against(form: str) -> dict[str, str]:
    """Each cell of the map is compared with SAM or ASAM."""
    return {
        f"{form}-{family}, alpha = {alpha}, k = {k}": family
        for family in rows.FAMILIES
        for alpha in rows.ALPHA
        for k in rows.K["paper"]
    }


CHOICES = (
    "The grids are not stated: alpha 0.2, 0.5, 0.8 (the authors' README), k as in Figure 5.",
    rows.LAST_EPOCH,
    rows.ASAM_SETTINGS,
)
