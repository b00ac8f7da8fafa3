"""A row of a table or figure: its parameters, its config, and the words for it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.methods import spec
from experiments.methods.table import METHODS

Params = Mapping[str, Any]

_WORDS = {  # parameters that are words in a label, by value
    ("average", True): "averaged gradients",
    ("rho_over_k", True): "steps of rho / k",
    ("alpha", "adaptive"): "adaptive alpha",
}


class Row(NamedTuple):
    """One config, trained with every seed: a row of a table, a point or curve of a figure.

    Attributes:
      params: what distinguishes it: ``setting``, ``method``, the method's arguments, and others.
      config: the runs' config; its seed is replaced by that of each run.
      published: the paper's value of the item's first metric, and its deviation if it has one.
      trained_above: test accuracy in percent below which the runs did not train; None if unknown.
      minibatches: number of minibatches of an epoch, for the cost; None if unknown.
    """

    params: Params
    config: ConfigDict
    published: tuple[float, float | None] | None = None
    trained_above: float | None = None
    minibatches: int | None = None


def method_string(name: str, arguments: Params) -> str:
    """A method with arguments as a config names it, in the order of the table of methods."""
    return spec.write(name, in_order(name, arguments))


def in_order(name: str, arguments: Params) -> dict[str, Any]:
    """The arguments of a method in the order of the table of methods."""
    order = list(METHODS[name].defaults)
    return {key: arguments[key] for key in sorted(arguments, key=order.index)}


def method_title(params: Params) -> str:
    """The title of a row's method as the papers write it."""
    return METHODS[params["method"]].title.format(optimizer=params.get("optimizer", "SGD"))


def words(params: Params, keys: Sequence[str]) -> list[str]:
    """Parameters in a label; a flag that is off, the usual case, needs no word."""
    words = []
    for key in keys:
        value = params.get(key)
        if (key, value) in _WORDS:
            words.append(_WORDS[key, value])
        elif value is not None and value is not False:
            shown = f"{value:g}" if isinstance(value, (int, float)) else str(value)
            words.append(f"{key} = {shown}")
    return words
