"""Table 1: test accuracy of twelve methods on five pairs of dataset and network."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import Cell, Recipe

PUBLISHED_ROWS = (
    "SGD",
    "Lookahead-SGD",
    "SAM",
    "Multistep-SAM",
    "Multistep-SAM + average grads",
    "Lookahead-SAM",
    "Lookbehind-SAM",
    "ASAM",
    "Multistep-ASAM",
    "Multistep-ASAM + average grads",
    "Lookahead-ASAM",
    "Lookbehind-ASAM",
)
_PUBLISHED = {
    ("CIFAR-10", "ResNet-34"): (
        (95.84, 0.13), (95.59, 0.21), (95.80, 0.07), (95.72, 0.15), (95.74, 0.25), (95.80, 0.11),
        (96.27, 0.07), (96.32, 0.02), (95.91, 0.14), (95.91, 0.24), (96.01, 0.15), (96.54, 0.21),
    ),
    ("CIFAR-10", "WRN-28-2"): (
        (93.58, 0.11), (94.01, 0.02), (93.97, 0.20), (94.39, 0.09), (94.55, 0.22), (93.97, 0.17),
        (94.81, 0.22), (94.41, 0.09), (95.06, 0.15), (94.92, 0.09), (94.28, 0.04), (95.23, 0.01),
    ),
    ("CIFAR-100", "ResNet-50"): (
        (74.35, 1.23), (75.96, 0.12), (76.57, 0.59), (77.03, 0.65), (76.97, 0.57), (76.16, 0.98),
        (78.62, 0.48), (78.62, 0.67), (77.81, 0.52), (78.39, 0.52), (77.55, 1.10), (78.86, 0.29),
    ),
    ("CIFAR-100", "WRN-28-10"): (
        (78.80, 0.08), (78.53, 0.18), (80.50, 0.06), (80.55, 0.06), (80.58, 0.21), (80.09, 0.10),
        (80.99, 0.02), (81.67, 0.28), (81.67, 0.06), (81.35, 0.36), (80.97, 0.17), (82.16, 0.09),
    ),
    ("ImageNet", "ResNet-18"): (
        (69.91, 0.04), (69.63, 0.12), (70.01, 0.06), (69.92, 0.07), (70.01, 0.07), (69.99, 0.07),
        (70.16, 0.08), (70.15, 0.06), (70.06, 0.01), (70.11, 0.03), (70.00, 0.11), (70.23, 0.22),
    ),
}  # fmt: skip
PUBLISHED = {
    beds.column(*pair): dict(zip(PUBLISHED_ROWS, values, strict=True))
    for pair, values in _PUBLISHED.items()
}


def methods(k: int, alpha: float) -> dict[str, str]:
    """The rows of the table."""
    found = {"SGD": "none", "Lookahead-SGD": f"lookahead:k={k},alpha={alpha}"}
    for family in rows.FAMILIES:
        forms = rows.forms(family, k, alpha)
        forms[f"Multistep-{family} + average grads"] = rows.multistep(family, k, average=True)
        found |= forms
    return {row: found[row] for row in PUBLISHED_ROWS}


def cells(scale: str) -> list[Cell]:
    """All rows on all testbeds."""
    return [
        beds.cell(bed, row, method)
        for bed in beds.lookbehind(scale)
        for row, method in methods(rows.default_k(scale, bed.column), 0.5).items()
    ]


RECIPE = Recipe(
    title="Generalization: test accuracy of Lookbehind and eleven other methods",
    cells=cells,
    seeds=rows.SEEDS,
    quantities=[
        quantities.test_accuracy(),
        quantities.best_accuracy(),
        quantities.train_accuracy(),
        quantities.train_loss(),
    ],
    draw=drawings.rows("test_accuracy"),
    choices=[
        rows.NO_K_OR_ALPHA,
        rows.LAST_EPOCH,
        "Optimizer settings are not in the text: those of the authors' code (rate 0.1, momentum "
        "0.9, weight decay 5e-4, batches of 128); ImageNet: rate 0.1, cosine, batches of 256.",
        rows.ASAM_SETTINGS,
        "The last partial batch of an epoch is dropped: 390 steps an epoch, the authors' code 391.",
        rows.IMAGENET,
        "rho is the default: 0.05 (SAM) and 0.5 (ASAM), on CIFAR-100 0.1 and 1.0.",
        "At scale laptop the learning rate follows a cosine, so that wrong labels are memorized.",
    ],
    limits=rows.LIMITS,
    published=PUBLISHED,
    against={
        "Lookahead-SGD": "SGD",
        "SAM": "SGD",
        "ASAM": "SGD",
    }
    | dict.fromkeys(PUBLISHED_ROWS[3:7], "SAM")
    | dict.fromkeys(PUBLISHED_ROWS[8:], "ASAM"),
)
