"""Figure 5: sensitivity to k."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import Cell, Recipe

_PAIRS = [beds.RESNET_34, ("CIFAR-100", "ResNet-50")]


def _cells(scale: str) -> list[Cell]:
    cells = []
    for bed in beds.lookbehind(scale, _PAIRS):
        for family in rows.FAMILIES:
            column = f"{family}: {bed.column}"
            cells.append(beds.cell(bed, family, rows.sam(family), column=column))
            for k in rows.K[scale]:
                forms = rows.forms(family, k, 0.5)
                for series in list(forms)[1:]:
                    row = f"{series}, k = {k}"
                    cells.append(
                        beds.cell(bed, row, forms[series], column=column, series=series, x=k)
                    )
    return cells


RECIPE = Recipe(
    title="Sensitivity to k",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[quantities.test_accuracy(), quantities.best_accuracy()],
    draw=drawings.lines("test_accuracy", "k"),
    choices=["alpha is not stated: 0.5 for each k.", rows.LAST_EPOCH, rows.ASAM_SETTINGS],
    limits=rows.TWO_K_LIMITS,
    against={
        f"{form}-{family}, k = {k}": family
        for form in ("Multistep", "Lookahead", "Lookbehind")
        for family in rows.FAMILIES
        for k in rows.K["paper"]
    },
)
