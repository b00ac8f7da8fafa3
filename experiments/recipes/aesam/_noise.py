"""Cells of the experiments with wrong labels."""

from collections.abc import Iterable

from experiments.recipes import beds, rows
from experiments.recipes.recipe import Cell

LEVELS = (0.2, 0.4, 0.6, 0.8)
METHODS = rows.aesam(period=2, looksam_lambdas=(-1.0, 1.0))
CURVES = tuple(row for row in METHODS if row != "ESAM")

CHOICES = (
    "rho and LookSAM's alpha are not stated for this experiment: rho = 0.05 (0.2 at scale laptop), "
    "alpha = 0.5.",
    "Whether a wrong label can be the right class by chance is not stated: here it never is.",
    "Training accuracy is on the labels trained on, wrong ones included.",
)
LAPTOP_LIMITS = (
    "Digits in place of CIFAR-10 (704 training images, 360 test images), and a WRN-10-1 in place "
    "of ResNet-32. rho = 0.2 was chosen at 40% wrong labels and is not tuned for the other levels."
)
LIMITS = {"laptop": LAPTOP_LIMITS, "gpu": rows.GPU_BUDGET}


def cells(
    scale: str, network: str, levels: Iterable[float] = LEVELS, methods: Iterable[str] = METHODS
) -> list[Cell]:
    """A column for each fraction of wrong labels."""
    return [
        beds.cell(bed, row, METHODS[row])
        for bed in (beds.noisy(scale, level, network) for level in levels)
        for row in methods
    ]
