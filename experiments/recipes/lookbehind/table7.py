"""Table 7: the hyper-parameters of lifelong learning that a grid search (Table 6) chooses."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from experiments.configs import continual
from experiments.recipes import drawings
from experiments.recipes.recipe import GPU, LAPTOP, PAPER, Cell, Quantity, Recipe, RunResult

# Rate, rho, k, alpha: Table 6, and what the smaller scales take of it.
_GRID = {
    PAPER: {
        "rate": (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003, 0.00001),
        "rho": (0.005, 0.01, 0.05, 0.1),
        "k": (2, 5, 10),
        "alpha": (0.1, 0.2, 0.5, 0.8, 1.0),
    },
    GPU: {"rate": (0.1, 0.03, 0.01), "rho": (0.01, 0.05), "k": (2, 5), "alpha": (0.2, 1.0)},
    LAPTOP: {"rate": (0.1, 0.03), "rho": (0.05, 0.1), "k": (2,), "alpha": (0.2, 1.0)},
}
_STREAMS = {
    PAPER: {"Split-CIFAR100": "cifar100", "Split-TinyImageNet": "tiny"},
    GPU: {"Split-CIFAR100": "cifar100"},
    LAPTOP: {"Split-digits": "digits"},
}
_CHANGES: dict[str, dict[str, Any]] = {
    PAPER: {},
    GPU: {"epochs_per_task": 2},
    LAPTOP: {"epochs_per_task": 3, "memory": 20},
}
_METHODS = {
    "SGD": "none",
    "SAM": "sam:rho={rho}",
    "Multistep-SAM": "multistep_sam:k={k},rho={rho}",
    "Lookbehind-SAM": "lookbehind_sam:k={k},rho={rho},alpha={alpha}",
}
_CMAML = "lookbehind_cmaml:k={k},rho={rho},alpha={alpha}"


def _settings(scale: str, text: str) -> Iterator[dict[str, float]]:
    """The grid over the rate and over those parameters that the method string has."""
    grid = {key: v for key, v in _GRID[scale].items() if key == "rate" or f"{{{key}}}" in text}
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def cells(scale: str) -> list[Cell]:
    """Every setting of every method, with and without replay, scored on the test set."""
    found = []
    for column, stream in _STREAMS[scale].items():
        for replay, (name, text) in product((False, True), _METHODS.items()):
            for setting in _settings(scale, text):
                changes = {"method": text.format(**setting)} | ({} if replay else {"memory": 0})
                series = f"ER + {name}" if replay else name
                found.append(_cell(scale, column, stream, series, setting, changes))
        for setting in _settings(scale, _CMAML):
            changes = {"learner": _CMAML.format(**setting)}
            found.append(_cell(scale, column, stream, "Lookbehind-C-MAML", setting, changes))
    return found


def _cell(
    scale: str,
    column: str,
    stream: str,
    series: str,
    setting: dict[str, float],
    changes: dict[str, Any],
) -> Cell:
    config = continual.get_config(stream)
    config.update(_CHANGES[scale] | changes, learning_rate=setting["rate"])
    numbers = ", ".join(f"{value:g}" for value in setting.values())
    return Cell(f"{series} {{{numbers}}}", column, config, series)


def _chosen(run: RunResult) -> float | None:
    """1 if no setting of the same method has a higher accuracy with this seed, else 0."""
    row = next(name for name, peer in run.peers.items() if peer is run)
    method = row.split(" {")[0]
    others = [peer for name, peer in run.peers.items() if name.split(" {")[0] == method]
    best = max(peer.final["average_accuracy"] for peer in others)
    return float(run.final["average_accuracy"] == best)


RECIPE = Recipe(
    title="Hyper-parameters of lifelong learning: accuracy of every setting of the grid",
    cells=cells,
    seeds={"laptop": 1, "gpu": 1, "paper": 3},
    quantities=[
        Quantity(
            "average_accuracy",
            "average accuracy, %",
            lambda run: 100 * run.final["average_accuracy"],
        ),
        Quantity("chosen", "chosen", _chosen, 0, None),
        Quantity(
            "forgetting",
            "forgetting, %",
            lambda run: 100 * run.final["forgetting"],
            higher_is_better=False,
        ),
    ],
    draw=drawings.rows("average_accuracy"),
    choices=[
        "Rows name the setting as the paper does: {rate, rho, k, alpha}, without those that the "
        "method does not have.",
        "As in the paper the accuracy is that on the test set; choosing by it favours methods with "
        "larger grids. The choice is made for each seed, the paper's once.",
        "The paper's choices on Split-CIFAR100: SGD {0.03}; SAM {0.03, 0.05}; Multistep-SAM {0.01, "
        "0.01, 2}; Lookbehind-SAM {0.1, 0.05, 10, 0.1}; ER + SAM {0.1, 0.05}; ER + Multistep-SAM "
        "{0.1, 0.05, 10}; ER + Lookbehind-SAM {0.03, 0.05, 10, 0.2}; Lookbehind-C-MAML {0.03, "
        "0.005, 2, 1}.",
        "On Split-TinyImageNet: SGD {0.03}; SAM {0.03, 0.05}; Multistep-SAM {0.03, 0.05, 2}; "
        "Lookbehind-SAM {0.01, 0.05, 10, 0.1}; ER + SAM {0.03, 0.1}; ER + Multistep-SAM {0.03, "
        "0.1, 10}; ER + Lookbehind-SAM {0.01, 0.1, 5, 0.5}; Lookbehind-C-MAML {0.03, 0.1, 2, 1}.",
    ],
    limits={
        LAPTOP: "Five tasks of two digits and a small part of the grid with one seed: it shows how "
        "far the settings differ, not which one is best.",
        GPU: "A small part of the grid, two epochs a task, no Split-TinyImageNet.",
    },
    command="continual",
)
