"""Cells of the figures about gradients of minibatches."""

from collections.abc import Sequence

from experiments.recipes import beds, rows
from experiments.recipes.recipe import LAPTOP, Cell

NETWORKS = ("ResNet-18", "WRN-28-10", "PyramidNet-110")
CHOICES = (
    "Networks, number of minibatches and BatchNorm's mode are not stated: the networks of Figure "
    "8, all training images without augmentation (2,048 of CIFAR's), each minibatch with its own "
    "statistics.",
    "The figure is at the checkpoints that are kept: ten in a run (five at scale laptop, four at "
    "scale gpu).",
)
SEEDS = {"laptop": 3, "gpu": 2, "paper": 5}
LIMITS = {
    LAPTOP: rows.laptop_limits("a ResNet of six layers and a WRN-10-1"),
    "gpu": rows.GPU_BUDGET,
}


def cells(scale: str, methods: Sequence[str], datasets: Sequence[str]) -> list[Cell]:
    """A column for each network and dataset."""
    pairs = [(dataset, network) for dataset in datasets for network in NETWORKS]
    return [
        beds.cell(bed, row, rows.aesam()[row])
        for bed in beds.aesam_networks(scale, pairs)
        for row in methods
    ]
