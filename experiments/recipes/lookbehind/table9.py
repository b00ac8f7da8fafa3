"""Table 9: Lookbehind on m-SAM and m-ASAM: each microbatch is perturbed on its own."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import PAPER, Cell, Recipe

_ALPHAS = (0.2, 0.5, 0.8, "adaptive")
_PUBLISHED = {  # m -> m-SAM, then k = 2 and k = 5 over alpha; the same for m-ASAM
    32: (
        (96.19, 0.09), (96.45, 0.04), (96.61, 0.05), (96.68, 0.07), (96.66, 0.03), (96.65, 0.07),
        (96.53, 0.12), (96.35, 0.01), (96.35, 0.02), (96.45, 0.04), (96.81, 0.18), (97.00, 0.05),
        (97.05, 0.11), (96.97, 0.08), (97.03, 0.02), (97.01, 0.03), (96.85, 0.01), (96.68, 0.03),
    ),
    64: (
        (95.99, 0.04), (95.91, 0.08), (96.26, 0.15), (96.44, 0.13), (96.49, 0.05), (96.12, 0.10),
        (96.52, 0.04), (96.31, 0.09), (96.41, 0.05), (96.28, 0.06), (96.10, 0.15), (96.64, 0.11),
        (96.54, 0.23), (96.69, 0.19), (96.57, 0.04), (96.68, 0.07), (96.76, 0.10), (96.77, 0.09),
    ),
}  # fmt: skip


def _row(family: str, k: int, alpha: float | str) -> str:
    shown = "adaptive alpha" if alpha == "adaptive" else f"alpha = {alpha}"
    return f"Lookbehind-m-{family} ({shown}, k = {k})"


def _methods(ks: tuple[int, ...], alphas: tuple[float | str, ...]) -> dict[str, str]:
    found = {}
    for family in rows.FAMILIES:
        found[f"m-{family}"] = rows.sam(family)
        for k in ks:
            for alpha in alphas:
                found[_row(family, k, alpha)] = rows.lookbehind(family, k, alpha)
    return found


_ALL = list(_methods((2, 5), _ALPHAS))


def _cells(scale: str) -> list[Cell]:
    (bed,) = beds.lookbehind(scale, [beds.RESNET_34])
    # A quarter and a half of the batch.
    sizes = {4: bed.config.batch_size // 4, 2: bed.config.batch_size // 2}
    grid = ((2, 5), _ALPHAS) if scale == PAPER else ((2,), (0.2, 0.5, "adaptive"))
    return [
        beds.cell(bed, row, method, column=f"m = {m}", microbatches=parts)
        for parts, m in sizes.items()
        for row, method in _methods(*grid).items()
    ]


RECIPE = Recipe(
    title="Lookbehind on m-SAM and m-ASAM",
    cells=_cells,
    seeds={"laptop": 2, "gpu": 2, "paper": 3},
    quantities=[quantities.test_accuracy(), quantities.best_accuracy(), quantities.train_loss()],
    draw=drawings.rows("test_accuracy"),
    choices=[
        "rho and the batch size are not stated: the default, and 128 as in the authors' code.",
        rows.LAST_EPOCH,
        rows.ADAPTIVE_ALPHA,
        rows.ASAM_SETTINGS,
    ],
    limits={
        "laptop": rows.LAPTOP_LIMITS + " Microbatches of 8 and 16 in batches of 32; k = 2 only.",
        "gpu": rows.GPU_BUDGET + " k = 2 only.",
    },
    published={
        f"m = {m}": dict(zip(_ALL, values, strict=True)) for m, values in _PUBLISHED.items()
    },
    against={
        row: f"m-{family}" for family in rows.FAMILIES for row in _ALL if f"-m-{family}" in row
    },
)
