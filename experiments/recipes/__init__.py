"""Recipes: which runs make a table or figure of a paper, what is measured, and how it is drawn.

A recipe is a module ``experiments/recipes/PAPER/ITEM.py`` with one constant ``RECIPE``; its name is
``PAPER.ITEM``, e.g. ``lookbehind.table1``, and ``python -m experiments.reproduce PAPER.ITEM`` does
the runs that are missing and writes the result. A new recipe is a new module, nothing else. Those
in ``comparison`` are this project's own, in the same form.

``RECIPE`` is a :class:`experiments.recipes.recipe.Recipe`. The parts that every recipe has::

    def _cells(scale):                       # scale: "laptop", "gpu" or "paper"
        return [
            cell(bed, row, method)           # row: label; method: "sam:rho=0.05"
            for bed in beds.lookbehind(scale)        # a testbed: column, config, default radii
            for row, method in METHODS.items()
        ]

    RECIPE = Recipe(
        title="Generalization of Lookbehind",
        cells=_cells,
        seeds={"laptop": 3, "gpu": 3, "paper": 3},
        quantities=[quantities.test_accuracy(), quantities.best_accuracy()],
        draw=drawings.rows("test_accuracy"),
        choices=["k and alpha of each cell are not stated: k = 5, alpha = 0.5."],
        limits={"laptop": "One testbed stands for five pairs of dataset and network."},
        published={"CIFAR-10, ResNet-34": {"SAM": (95.80, 0.07)}},
        against={"Lookbehind-SAM": "SAM"},   # paired differences
    )

A run is its config: cells of different recipes with the same config and seed share one run. A
recipe whose runs another command does sets ``command`` (``continual``); its ``Cell.config`` is that
command's config, and its quantities read ``run.final``, the JSON file that the command writes.
"""

import pkgutil
from functools import cache
from importlib import import_module

from experiments.configs.lookup import look_up
from experiments.recipes.recipe import Recipe

GROUPS = ("lookbehind", "aesam", "comparison")


@cache
def names() -> list[str]:
    """Names of all recipes: paper by paper, tables before figures, by number; then the others."""
    found = []
    for group in GROUPS:
        package = import_module(f"{__name__}.{group}")
        modules = pkgutil.iter_modules(package.__path__)
        items = [module.name for module in modules if not module.name.startswith("_")]
        found += [f"{group}.{item}" for item in sorted(items, key=_order)]
    return found


def load(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
      ValueError: if there is none; the message lists the names.
    """
    module = look_up("recipe", name, {known: f"{__name__}.{known}" for known in names()})
    return import_module(module).RECIPE


def _order(item: str) -> tuple[bool, int]:
    """Key that sorts table2 before table10 and tables before figures."""
    kind = item.rstrip("0123456789")
    return kind != "table", int(item[len(kind) :] or 0)
