"""Figure 8: changing the method in the middle of training."""

from experiments.recipes import beds, drawings, quantities, rows
from experiments.recipes.recipe import LAPTOP, Cell, Recipe

_FRACTIONS = (0.25, 0.5, 0.75)  # of all epochs: where the learning rate drops


def _cells(scale: str) -> list[Cell]:
    (bed,) = beds.lookbehind(scale, [beds.RESNET_34])
    cells = []
    for family in rows.FAMILIES[:1] if scale == LAPTOP else rows.FAMILIES:
        for k in rows.K[scale]:
            plain = rows.sam(family).format(rho=bed.rho, asam_rho=bed.asam_rho)
            ours = rows.lookbehind(family, k, 0.5).format(rho=bed.rho, asam_rho=bed.asam_rho)
            name = f"Lookbehind-{family}"
            cells += _curve(bed, f"{family}, then {name}", k, plain, ours)
            cells += _curve(bed, f"{name}, then {family}", k, ours, plain)
    return cells


def _curve(bed: beds.Bed, column: str, k: int, first: str, second: str) -> list[Cell]:
    """The cells of a panel: switched at the start, in between, and never."""
    epochs = bed.config.epochs
    places: dict[int, tuple[str, tuple[tuple[int, str], ...]]] = {
        0: (second, ()),
        epochs: (first, ()),
    }
    for fraction in _FRACTIONS:
        after = round(fraction * epochs)
        places[after] = (first, ((after, second),))
    return [
        beds.cell(
            bed,
            f"k = {k}, switch after epoch {after}",
            method,
            column=column,
            series=f"k = {k}",
            x=after,
            switch=switch,
        )
        for after, (method, switch) in sorted(places.items())
    ]


RECIPE = Recipe(
    title="Changing the method in the middle of training",
    cells=_cells,
    seeds=rows.SEEDS,
    quantities=[quantities.test_accuracy(), quantities.best_accuracy(), quantities.train_loss()],
    draw=drawings.lines("test_accuracy", "epochs before the switch"),
    choices=[
        "The epochs of the switch are not stated: a quarter, half, three quarters, and both ends.",
        "The best alpha for each k is not stated: 0.5.",
        "Weights, BatchNorm's statistics, momentum and the schedule continue.",
        rows.LAST_EPOCH,
        rows.ASAM_SETTINGS,
    ],
    limits={
        LAPTOP: rows.LAPTOP_LIMITS + " SAM only." + rows.TWO_K,
        "gpu": rows.GPU_BUDGET + rows.TWO_K,
    },
)
