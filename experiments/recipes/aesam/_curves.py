"""Recipe of the accuracy curves with wrong training labels (Figures 4, 10, 11)."""

from collections.abc import Sequence

from experiments.recipes import drawings, quantities
from experiments.recipes.aesam import _noise
from experiments.recipes.recipe import Cell, Quantity, Recipe


def _gap() -> Quantity:
    """Best epoch minus last epoch: accuracy lost to overfitting."""
    return Quantity(
        "overfitting",
        "best - last epoch, points",
        lambda run: (
            100
            * (
                max(line["test_accuracy"] for line in run.history)
                - run.history[-1]["test_accuracy"]
            )
        ),
        2,
        False,
    )


def recipe(title: str, network: str, levels: Sequence[float], laptop_seeds: int = 3) -> Recipe:
    """Training and test accuracy over epochs, a panel for each fraction of wrong labels."""

    def cells(scale: str) -> list[Cell]:
        return _noise.cells(scale, network, levels, _noise.CURVES)

    return Recipe(
        title=title,
        cells=cells,
        seeds={"laptop": laptop_seeds, "gpu": 2, "paper": 5},
        quantities=[
            _gap(),
            quantities.test_accuracy(),
            quantities.train_accuracy(),
            quantities.curve("train_accuracy", "training accuracy, %", 100),
            quantities.curve("test_accuracy", "test accuracy, %", 100),
        ],
        draw=drawings.curves("train_accuracy_curve", "test_accuracy_curve"),
        choices=_noise.CHOICES,
        limits=_noise.LIMITS,
        against={row: "ERM" for row in _noise.CURVES if row != "ERM"},
    )
