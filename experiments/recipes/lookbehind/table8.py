"""Table 8: Lookbehind in the setup of the ASAM paper: cosine schedule, label smoothing."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import LAPTOP, Cell, Recipe

_PAIR = ("CIFAR-100", "WRN-28-10")
_METHODS = {
    "SGD": "none",
    "SAM": rows.sam("SAM"),
    "Lookbehind-SAM": rows.lookbehind("SAM", 2, "adaptive"),
    "ASAM": rows.sam("ASAM"),
    "Lookbehind-ASAM": rows.lookbehind("ASAM", 2, "adaptive"),
}


def _cells(scale: str) -> list[Cell]:
    (bed,) = beds.lookbehind(scale, [_PAIR])
    if scale != LAPTOP:
        bed = bed.with_changes(schedule="cosine")
    bed = bed.with_changes(label_smoothing=0.1)
    return [beds.cell(bed, row, method) for row, method in _METHODS.items()]


RECIPE = Recipe(
    title="Cosine schedule and label smoothing, k = 2, adaptive alpha, untuned",
    cells=_cells,
    seeds=rows.FIVE_SEEDS,
    quantities=[quantities.test_accuracy(), quantities.best_accuracy(), quantities.train_loss()],
    draw=drawings.rows("test_accuracy"),
    choices=[
        "The caption says WRN-28-10, the text WRN-28-2: WRN-28-10.",
        "The value of label smoothing is not stated: 0.1, as in the ASAM paper's code.",
        "The published SGD, SAM and ASAM rows are those of the ASAM paper; the Lookbehind authors' "
        "own runs have 83.36 ± 0.18 (SAM) and 83.60 ± 0.15 (ASAM).",
        "The cosine schedule advances with every step, in the ASAM paper's code with every epoch.",
        rows.ADAPTIVE_ALPHA,
        rows.ASAM_SETTINGS,
        rows.LAST_EPOCH,
    ],
    limits=rows.LIMITS,
    published={
        beds.column(*_PAIR): {
            "SGD": (81.56, 0.13),
            "SAM": (83.42, 0.04),
            "Lookbehind-SAM": (83.72, 0.10),
            "ASAM": (83.68, 0.12),
            "Lookbehind-ASAM": (84.00, 0.18),
        }
    },
    against={"SAM": "SGD", "Lookbehind-SAM": "SAM", "ASAM": "SGD", "Lookbehind-ASAM": "ASAM"},
)
