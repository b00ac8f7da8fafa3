"""The items of the papers and of this project's comparisons.

A module of a paper's folder has ``ITEMS``: name -> :class:`experiments.results.item.Item`. An item
is called ``PAPER.NAME``, e.g. ``lookbehind.table1``, and ``python -m experiments.reproduce
lookbehind.table1`` does the runs that are missing and writes the result. An item's rows are
settings (dataset, network, training) with methods and their arguments; a run is its config, so that
items share runs. A study, by contrast, does its computation itself, ``folder -> files``.
"""

import re
from collections.abc import Callable
from pathlib import Path

from experiments.configs.lookup import look_up
from experiments.papers.aesam import accuracy, gradients, thresholds
from experiments.papers.cifar import items as cifar
from experiments.papers.comparison import frontier
from experiments.papers.forecasting import items as forecasting
from experiments.papers.laws import edges
from experiments.papers.lookbehind import (
    generalization,
    lifelong,
    microbatches,
    sensitivity,
    sharpness,
    training,
    transformers,
)
from experiments.papers.radius import items as radius
from experiments.results.item import Item

_MODULES = {
    "lookbehind": (
        generalization,
        lifelong,
        microbatches,
        sensitivity,
        sharpness,
        training,
        transformers,
    ),
    "aesam": (accuracy, gradients, thresholds),
    "comparison": (frontier,),
    "cifar": (cifar,),
    "forecasting": (forecasting,),
    "radius": (radius,),
}


def _order(name: str) -> tuple[bool, int]:
    """Tables before figures, by number."""
    number = re.search(r"\d+", name)
    return not name.startswith("table"), int(number[0]) if number else 0


ITEMS: dict[str, Item] = {
    f"{paper}.{name}": items[name]
    for paper, modules in _MODULES.items()
    for items in [{name: item for module in modules for name, item in module.ITEMS.items()}]
    for name in sorted(items, key=_order)
}

STUDIES: dict[str, Callable[[Path], list[Path]]] = {"laws.edges": edges.write}


def load(name: str) -> Item:
    """The item of that name; a ValueError that lists the names if there is none."""
    return look_up("item", name, ITEMS)
