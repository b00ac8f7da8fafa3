"""Table 3: Lookbehind with static and with adaptive alpha."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.lookbehind import table1
from experiments.recipes.recipe import Cell, Recipe

_ROWS = ("Lookbehind-SAM", "+ adaptive alpha", "Lookbehind-ASAM", "+ adaptive alpha (ASAM)")
_ADAPTIVE = {
    ("CIFAR-10", "ResNet-34"): ((96.33, 0.04), (96.57, 0.03)),
    ("CIFAR-10", "WRN-28-2"): ((94.88, 0.12), (95.08, 0.15)),
    ("CIFAR-100", "ResNet-50"): ((78.33, 0.36), (78.89, 0.45)),
    ("CIFAR-100", "WRN-28-10"): ((80.86, 0.13), (81.86, 0.22)),
    ("ImageNet", "ResNet-18"): ((70.07, 0.12), (70.16, 0.08)),
}


def _published() -> dict[str, dict[str, tuple[float, float | None]]]:
    found: dict[str, dict[str, tuple[float, float | None]]] = {}
    for pair, (sam, asam) in _ADAPTIVE.items():
        static = table1.PUBLISHED[beds.column(*pair)]
        values = (static["Lookbehind-SAM"], sam, static["Lookbehind-ASAM"], asam)
        found[beds.column(*pair)] = dict(zip(_ROWS, values, strict=True))
    return found


def _cells(scale: str) -> list[Cell]:
    cells = []
    for bed in beds.lookbehind(scale):
        k = rows.default_k(scale, bed.column)
        methods = [rows.lookbehind(f, k, a) for f in rows.FAMILIES for a in (0.5, "adaptive")]
        cells += [beds.cell(bed, row, m) for row, m in zip(_ROWS, methods, strict=True)]
    return cells


RECIPE = Recipe(
    title="Static and adaptive alpha",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[quantities.test_accuracy(), quantities.best_accuracy(), quantities.train_loss()],
    draw=drawings.rows("test_accuracy"),
    choices=[
        rows.NO_K_OR_ALPHA,
        rows.LAST_EPOCH,
        rows.ADAPTIVE_ALPHA,
        rows.IMAGENET,
        rows.ASAM_SETTINGS,
    ],
    limits=rows.LIMITS,
    published=_published(),
    against={_ROWS[1]: _ROWS[0], _ROWS[3]: _ROWS[2]},
)
