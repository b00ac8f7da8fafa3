"""A recipe's result as JSON and as Markdown."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from experiments.analysis.groups import to_json_types
from experiments.campaign.collect import Plan
from experiments.campaign.commands import COMMANDS
from experiments.campaign.runs import different
from experiments.recipes.recipe import CellResult, Quantity, Result
from experiments.reporting.tables import markdown_lines
from experiments.storage import disk

_DASH = "-"

STEP_LENGTH = (
    "The rows have the same learning rate, but a step of Lookbehind is about k * alpha times as "
    "long as one of SAM; and at the same rho its gradients are taken up to k * rho away. A "
    "difference to Lookbehind can be due to either: with k = 2 its sign turns against SAM and ASAM "
    "with twice the rho (`lookbehind.figure6` at scale laptop). `comparison.frontier` has each "
    "method at a learning rate and rho chosen for it."
)
DID_NOT_TRAIN = "did not train"
_NOT_TRAINED = (
    "Rows that did not train (test accuracy more than 10 points below that of SGD on the same "
    "data) are compared with nothing and not drawn."
)


def write(plan: Plan, result: Result, folder: Path) -> list[Path]:
    """Writes ``NAME.json``, ``.md``, ``.png`` and ``.svg``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{result.name}{suffix}" for suffix in (".json", ".md", ".png", ".svg")]
    today = date.today().isoformat()
    text = json.dumps(as_json(result, today), indent=1, allow_nan=False, ensure_ascii=False)
    disk.write_text(files[0], text + "\n")
    disk.write_text(files[1], as_markdown(result, today))
    figure = result.recipe.draw(without_untrained(result))
    with disk.replacing(files[2]) as draft:
        figure.savefig(draft, dpi=130)
    # The same bytes for the same numbers.
    with plt.rc_context({"svg.hashsalt": result.name}), disk.replacing(files[3]) as draft:
        figure.savefig(draft, metadata={"Date": None})
    plt.close(figure)
    return files


def without_untrained(result: Result) -> Result:
    """The result without the cells that did not train."""
    return result._replace(cells=[each for each in result.cells if each.trained])


def as_json(result: Result, today: str) -> dict[str, Any]:
    """The whole result, with each cell's config."""
    defaults = COMMANDS[result.recipe.command].defaults()
    return to_json_types(
        {
            "name": result.name,
            "title": result.recipe.title,
            "scale": result.scale,
            "date": today,
            "quantities": {
                q.key: {"label": q.label, "higher_is_better": q.higher_is_better}
                for q in result.recipe.quantities
            },
            "choices": list(result.recipe.choices),
            "limits": result.recipe.limits.get(result.scale, ""),
            "cells": [
                {
                    "row": each.cell.row,
                    "column": each.cell.column,
                    "series": each.cell.series,
                    "x": each.cell.x,
                    "y": each.cell.y,
                    "config": different(each.cell.config, defaults),
                    "gradients_per_step": each.gradients_per_step,
                    "diverged": each.diverged,
                    "trained": each.trained,
                    "statistics": {
                        key: found._asdict() | {"n": found.n}
                        for key, found in each.statistics.items()
                    },
                    "comparison": each.comparison and each.comparison._asdict(),
                    "published": _published(result, each),
                }
                for each in result.cells
            ],
        }
    )


def as_markdown(result: Result, today: str) -> str:
    """Tables of all scalar quantities, the published numbers, and the notes."""
    seeds = sorted({found.n for each in result.cells for found in each.statistics.values()})
    counts = "1 seed" if seeds == [1] else f"{' or '.join(map(str, seeds)) or 0} seeds"
    lines = [
        f"# {result.name}: {result.recipe.title}",
        "",
        f"Scale `{result.scale}`, {counts}, {today}. Mean ± sample standard deviation over "
        "seeds. Written by "
        f"`{_command(result, seeds)}`.",
        "",
        f"![{result.name}]({result.name}.svg)",
        "",
    ]
    for column in result.columns:
        lines += [f"## {column}", "", *_table(result, result.of_column(column)), ""]
    if any(_step_lengths_differ(result.of_column(column)) for column in result.columns):
        lines += [STEP_LENGTH, ""]
    if not all(each.trained for each in result.cells):
        lines += [_NOT_TRAINED, ""]
    lines += _published_section(result)
    if result.recipe.limits.get(result.scale):
        lines += ["## Limits of this scale", "", result.recipe.limits[result.scale], ""]
    if result.recipe.choices:
        lines += ["## Choices, and differences from the paper", ""]
        lines += [f"- {choice}" for choice in result.recipe.choices] + [""]
    return "\n".join(lines)


def _command(result: Result, seeds: Sequence[int]) -> str:
    """The command that makes this result, with the number of seeds if it is not the recipe's."""
    words = ["python -m experiments.reproduce", result.name, f"--scale={result.scale}"]
    if seeds and seeds[-1] != result.recipe.seeds[result.scale]:
        words.append(f"--seeds={seeds[-1]}")
    return " ".join(words)


def _step_lengths_differ(cells: Sequence[CellResult]) -> bool:
    """Whether Lookbehind and another method are compared at the same learning rate of SGD."""
    configs = [each.cell.config for each in cells]
    methods = {config.method for config in configs}
    rates = {config.learning_rate for config in configs if config.optimizer == "sgd"}
    return len(methods) > 1 and "lookbehind" in " ".join(methods) and len(rates) == 1


def _table(result: Result, cells: Sequence[CellResult]) -> list[str]:
    quantities = [q for q in result.recipe.quantities if _is_scalar(q, cells)]
    compares = any(each.comparison for each in cells)
    has_gradients = any(each.gradients_per_step for each in cells)
    has_published = any(_published(result, each) for each in cells)
    heading = ["method", *(quantity.label for quantity in quantities)]
    heading += ["published"] if has_published else []
    heading += ["gradients a step"] if has_gradients else []
    heading += ["difference, 95% interval"] if compares else []
    heading += ["p (paired t-test)"] if compares and result.recipe.t_test else []
    rows = [heading]
    for each in cells:
        name = each.cell.row if each.trained else f"{each.cell.row} ({DID_NOT_TRAIN})"
        row = [name, *(_entry(each, quantity) for quantity in quantities)]
        if has_published:
            mean, std = _published(result, each) or (None, None)
            row.append(_mean_std(mean, std, 2))
        row += [_number(each.gradients_per_step, 2)] if has_gradients else []
        if compares:
            row.append(_difference(each, quantities[0].decimals))
            row += [_p_value(each)] if result.recipe.t_test else []
        rows.append(row)
    return markdown_lines(rows)


def _published_section(result: Result) -> list[str]:
    """The paper's columns that this scale does not have."""
    missing = {c: r for c, r in result.recipe.published.items() if c not in result.columns}
    if not missing:
        return []
    names = list(dict.fromkeys(name for rows in missing.values() for name in rows))
    table = [["published", *missing]]
    for name in names:
        found = [rows.get(name, (None, None)) for rows in missing.values()]
        table.append([name, *(_mean_std(mean, std, 2) for mean, std in found)])
    return ["## Published", "", *markdown_lines(table), ""]


def _is_scalar(quantity: Quantity, cells: Sequence[CellResult]) -> bool:
    found = [e.statistics[quantity.key] for e in cells if quantity.key in e.statistics]
    return bool(found) and all(statistic.mean.ndim == 0 for statistic in found)


def _entry(each: CellResult, quantity: Quantity) -> str:
    found = each.statistics.get(quantity.key)
    diverged = f"{len(each.diverged)} diverged" if each.diverged else ""
    if found is None:
        return diverged or _DASH
    std = None if found.std is None else float(found.std)
    text = _mean_std(float(found.mean), std, quantity.decimals)
    return f"{text} ({diverged})" if diverged else text


def _mean_std(mean: float | None, std: float | None, decimals: int) -> str:
    if mean is None:
        return _DASH
    if std is None:
        return _number(mean, decimals)
    return f"{_number(mean, decimals)} ± {_number(std, decimals)}"


def _number(value: float | None, decimals: int) -> str:
    if value is None or not np.isfinite(value):
        return _DASH
    return f"{value:.{decimals}f}"


def _difference(each: CellResult, decimals: int) -> str:
    comparison = each.comparison
    if comparison is None:
        return _DASH
    text = f"{comparison.difference:+.{decimals}f}"
    if comparison.interval is None:
        text += f" [{_DASH}]"
    else:
        low, high = comparison.interval
        text += f" [{low:+.{decimals}f}, {high:+.{decimals}f}]"
    return f"{text} against {comparison.against}"


def _p_value(each: CellResult) -> str:
    if each.comparison is None or each.comparison.p is None:
        return _DASH
    return f"{each.comparison.p:.2g}"


def _published(result: Result, each: CellResult) -> tuple[float, float | None] | None:
    return result.recipe.published.get(each.cell.column, {}).get(each.cell.row)
