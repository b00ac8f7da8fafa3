"""Table 10: how much sooner Lookbehind reaches the accuracy of Multistep."""

import numpy as np

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import LAPTOP, Cell, Quantity, Recipe, RunResult

_PUBLISHED = {  # static k = 2, 5, 10, adaptive k = 2, 5, 10; SAM, then ASAM
    ("CIFAR-10", "ResNet-34"): (50, 58, 50, 50, 51, 52, 50, 50, 51, 50, 50, 50),
    ("CIFAR-10", "WRN-28-2"): (51, 53, 56, 60, 63, None, 50, 50, 56, 51, 70, None),
    ("CIFAR-100", "ResNet-50"): (62, 50, 50, 36, 50, 50, 50, 50, 51, 50, 50, 52),
    ("CIFAR-100", "WRN-28-10"): (50, 95, 24, 51, None, None, 51, 50, 52, 52, 50, None),
    ("ImageNet", "ResNet-18"): (82, None, None, 96, None, None, 87, None, None, 93, None, None),
}


def _row(family: str, alpha: float | str, k: int) -> str:
    return f"Lookbehind-{family} ({'adaptive' if alpha == 'adaptive' else 'static'}, k = {k})"


def _multistep(family: str, k: int) -> str:
    return f"Multistep-{family} (k = {k})"


_ALPHAS = (0.5, "adaptive")
_ROWS = [_row(f, a, k) for f in rows.FAMILIES for a in _ALPHAS for k in (2, 5, 10)]
_PEERS = {
    _row(f, a, k): _multistep(f, k) for f in rows.FAMILIES for a in _ALPHAS for k in (2, 5, 10)
}


def _cells(scale: str) -> list[Cell]:
    cells = []
    for bed in beds.lookbehind(scale):
        if scale == LAPTOP:  # the drops of the rate at 25%, 50% and 75% are what the table is about
            bed = bed.with_changes(schedule="step")
        ks = (2,) if "ImageNet" in bed.column else rows.K[scale]
        for family in rows.FAMILIES:
            for k in ks:
                cells.append(beds.cell(bed, _multistep(family, k), rows.multistep(family, k)))
                for alpha in _ALPHAS:
                    method = rows.lookbehind(family, k, alpha)
                    cells.append(beds.cell(bed, _row(family, alpha, k), method))
    return cells


def _percent(run: RunResult) -> float | None:
    """100 * gradients until Multistep's last accuracy is reached / Multistep's gradients.

    Both methods take k + 1 gradients a step, so that epochs stand for gradients. A run that never
    reaches it has 100, the least that it can be; next to a Multistep that did not train there is
    nothing to reach.
    """
    reached = _reached(run)
    if reached is None:
        return None
    return 100 * (1 + int(np.argmax(reached))) / len(reached) if any(reached) else 100.0


def _reached(run: RunResult) -> list[bool] | None:
    """For each epoch, whether Lookbehind has Multistep's accuracy of the last epoch."""
    mine = next((row for row, other in run.peers.items() if other is run), "")
    multistep = run.peers.get(_PEERS.get(mine, ""))
    if multistep is None:
        return None
    level = multistep.history[-1]["test_accuracy"]
    if not quantities.trained(multistep.config, 100 * level):
        return None
    return [line["test_accuracy"] >= level for line in run.history]


def _reaches(run: RunResult) -> float | None:
    reached = _reached(run)
    return None if reached is None else float(any(reached))


RECIPE = Recipe(
    title="Gradients until Lookbehind reaches Multistep's accuracy, % of Multistep's",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[
        Quantity("percent_of_multistep", "% of Multistep's gradients", _percent, 1, False),
        Quantity("reaches", "runs that reach it, fraction", _reaches, 2, True),
        quantities.test_accuracy(),
    ],
    draw=drawings.rows("percent_of_multistep"),
    choices=[
        "How the level is compared is not stated: Multistep's accuracy after the last epoch, with "
        "the same seed; the first epoch of Lookbehind that reaches it.",
        "Static alpha: 0.5 for each k; the paper takes the best one.",
        "A run that never reaches the level counts as 100%, the least that it can be, so that the "
        "mean is then too low. A dash: Multistep itself did not train.",
        rows.ADAPTIVE_ALPHA,
        rows.IMAGENET,
        rows.ASAM_SETTINGS,
    ],
    limits={
        "laptop": rows.LAPTOP_LIMITS
        + rows.TWO_K
        + " With wrong labels accuracy falls again once they are "
        "memorized, so that the level is often passed in the first epochs: the numbers say more "
        "about that than about the drops of the learning rate.",
        "gpu": rows.GPU_BUDGET + rows.TWO_K,
    },
    published={
        beds.column(*pair): {
            row: (value, None) for row, value in zip(_ROWS, values, strict=True) if value
        }
        for pair, values in _PUBLISHED.items()
    },
)
