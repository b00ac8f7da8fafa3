"""A result as files: JSON with every number, a Markdown page, and the figure."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.results import figures, tables
from experiments.results.item import Item, Result, ResultRow, evaluate
from experiments.results.markdown import markdown_table
from experiments.results.metrics import Metric
from experiments.results.row import Row
from experiments.results.table import pack, unpack
from experiments.storage import disk
from experiments.training import run_dir

STEP_LENGTH = (
    "The rows have the same learning rate, but a step of Lookbehind is about k * alpha times as "
    "long as one of SAM; and at the same rho its gradients are taken up to k * rho away. A "
    "difference to Lookbehind can be due to either: with k = 2 its sign turns against SAM and ASAM "
    "with twice the rho (`lookbehind.figure6` at scale laptop). `comparison.frontier` has each "
    "method at a learning rate and rho chosen for it."
)
_VERDICT = (
    "Verdict: no worse if the one-sided 95% interval of the paired difference is above minus the "
    "margin, otherwise worse if the p-value, corrected within the table by Holm's method, is below "
    "0.05, and otherwise undecided."
)
_NOT_TRAINED = (
    "Rows that did not train (test accuracy more than 10 points below that of SGD on the same "
    "data) are compared with nothing and not drawn."
)


def write(result: Result, folder: Path) -> list[Path]:
    """Writes ``NAME.json``, ``.md``, ``.png`` and ``.svg``; returns their paths.

    Without rows, which means that the scale cannot show the item, only the Markdown page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    json_file, page = (folder / f"{result.name}{suffix}" for suffix in (".json", ".md"))
    disk.write_text(page, markdown(result))
    if not result.rows:
        return [page]
    write_json(json_file, as_json(result))
    if not _has_figure(result):
        return [json_file, page]
    return [json_file, page, *figures.save(result.item.draw(result), folder, result.name)]


def _has_figure(result: Result) -> bool:
    """Whether a row trained: the others are not drawn."""
    return any(each.trained and len(each.table) for each in result.rows)


def read(name: str, item: Item, scale: str, folder: Path) -> Result:
    """The result in ``NAME.json``, for the item's rows of today.

    Raises:
      ValueError: if the file lacks one of the rows.
    """
    file = folder / f"{name}.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    rows = []
    for row in item.rows(scale):
        params = to_json_types(row.params)
        (saved,) = [each for each in record["rows"] if each["params"] == params] or [None]
        if saved is None:
            raise ValueError(f"{file} has no row with the parameters {params}; run it again.")
        table = unpack(saved["values"])
        diverged = tuple(saved["diverged"])
        rows.append(ResultRow(row, table, saved["gradients_per_step"], diverged, saved["trained"]))
    return evaluate(Result(name, item, scale, record["date"], rows))


def as_json(result: Result) -> dict[str, Any]:
    """The whole result, with each row's config."""
    item = result.item
    return {
        "name": result.name,
        "title": item.title,
        "scale": result.scale,
        "date": result.date,
        "metrics": {
            metric.name: {"label": metric.label, "higher_is_better": metric.higher_is_better}
            for metric in item.metrics
        },
        "choices": list(item.choices),
        "limits": item.limits.get(result.scale, ""),
        "rows": [
            {
                "panel": item.heading(each.row.params),
                "label": each.label,
                "params": each.row.params,
                "config": run_dir.identity(each.row.config),
                "gradients_per_step": each.gradients_per_step,
                "diverged": each.diverged,
                "trained": each.trained,
                "published": each.row.published,
                "values": pack(each.table),
                "summary": _summaries(each, item.metrics),
                "against": each.against,
                "difference": each.difference and each.difference._asdict(),
            }
            for each in result.rows
        ],
    }


def markdown(result: Result) -> str:
    """Tables of all scalar metrics, the published numbers, and the notes."""
    item = result.item
    lines = [f"# {result.name}: {item.title}", ""]
    if result.rows:
        seeds = sorted({len(each.table.distinct("seed")) for each in result.rows})
        counts = "1 seed" if seeds == [1] else f"{' or '.join(map(str, seeds))} seeds"
        lines += [
            f"Scale `{result.scale}`, {counts}, {result.date}. Mean ± sample standard deviation "
            f"over seeds. Written by `{_command(result, seeds[-1])}`.",
            "",
        ]
    if _has_figure(result):
        lines += [f"![{result.name}]({result.name}.svg)", ""]
    for heading, rows in result.panels.items():
        lines += [f"## {heading}", "", _table(result, rows), ""]
    if any(each.verdict for each in result.rows):
        lines += [_VERDICT, ""]
    if not all(each.trained for each in result.rows):
        lines += [_NOT_TRAINED, ""]
    if any(_step_lengths_differ(rows) for rows in result.panels.values()):
        lines += [STEP_LENGTH, ""]
    lines += _published(result)
    if item.limits.get(result.scale):
        lines += ["## Limits of this scale", "", item.limits[result.scale], ""]
    if item.choices:
        lines += ["## Choices, and differences from the paper", ""]
        lines += [f"- {choice}" for choice in item.choices] + [""]
    return "\n".join(lines)


def _command(result: Result, seeds: int) -> str:
    """The command that makes this result, with the number of seeds if it is not the item's."""
    words = ["python -m experiments.reproduce", result.name, f"--scale={result.scale}"]
    if seeds != result.item.seeds[result.scale]:
        words.append(f"--seeds={seeds}")
    return " ".join(words)


def _step_lengths_differ(rows: Sequence[ResultRow]) -> bool:
    """Whether Lookbehind and another method are compared at the same learning rate of SGD."""
    if any("learning_rate" in each.row.params for each in rows):  # chosen for each row
        return False
    configs = [each.row.config for each in rows]
    methods = {config.method for config in configs}
    rates = {config.learning_rate for config in configs if config.optimizer == "sgd"}
    return len(methods) > 1 and "lookbehind" in " ".join(methods) and len(rates) == 1


def write_json(file: Path, record: Any) -> None:
    """Writes a record as JSON with its innermost lists on one line each."""
    text = json.dumps(to_json_types(record), indent=1, allow_nan=False, ensure_ascii=False)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda match: " ".join(match[0].split()), text)
    disk.write_text(file, text + "\n")


def to_json_types(value: Any) -> Any:
    """Converts to the types of JSON; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {key: to_json_types(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_types(entry) for entry in value]
    if hasattr(value, "tolist"):
        return to_json_types(np.asarray(value).tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _table(result: Result, rows: Sequence[ResultRow]) -> str:
    item = result.item
    metrics = [m for m in item.metrics if _is_scalar(m, rows)]
    has_published = any(each.row.published for each in rows)
    has_gradients = any(each.gradients_per_step for each in rows)
    compares = any(each.difference for each in rows)
    entries = []
    for each in rows:
        entry = {"method": each.label if each.trained else f"{each.label} (did not train)"}
        entry |= {metric.label: _mean_std(each, metric) for metric in metrics}
        if has_published:
            entry["published"] = _published_value(each.row)
        if has_gradients:
            entry["gradients a step"] = tables.number(each.gradients_per_step, 2)
        if compares:
            entry["difference, 95% interval"] = _difference(each, metrics[0].decimals)
        if compares and item.t_test:
            p = each.difference and each.difference.p
            entry["p (paired t-test)"] = tables.DASH if p is None else f"{p:.2g}"
        if compares and item.margin is not None:
            entry["p (Holm)"] = tables.DASH if each.holm is None else f"{each.holm:.2g}"
            entry[f"verdict, margin {item.margin:g}"] = each.verdict or tables.DASH
        entries.append(entry)
    return markdown_table(entries)


def _is_scalar(metric: Metric, rows: Sequence[ResultRow]) -> bool:
    """Whether the metric is one number for each run, not a curve."""
    values = [row for each in rows for row in each.table.where(metric=metric.name)]
    return bool(values) and all(row.keys() <= {"metric", "seed", "run", "value"} for row in values)


def _mean_std(each: ResultRow, metric: Metric) -> str:
    found = each.table.summary(metric.name)
    diverged = f"{len(each.diverged)} diverged" if each.diverged else ""
    if found is None:
        return diverged or tables.DASH
    std = None if found.std is None else float(found.std)
    text = tables.plus_minus(float(found.mean), std, metric.decimals)
    return f"{text} ({diverged})" if diverged else text


def _difference(each: ResultRow, decimals: int) -> str:
    if each.difference is None:
        return tables.DASH
    return f"{tables.difference(each.difference, decimals)} against {each.against}"


def _published(result: Result) -> list[str]:
    """The numbers of the paper in panels that this scale does not have."""
    missing = result.item.published(result.panels)
    labels = dict.fromkeys(label for rows in missing.values() for label in rows)
    entries = [
        {"published": label}
        | {title: _published_value(rows.get(label)) for title, rows in missing.items()}
        for label in labels
    ]
    return ["## Published", "", markdown_table(entries), ""] if entries else []


def _published_value(row: Row | None) -> str:
    mean, std = (row and row.published) or (None, None)
    return tables.plus_minus(mean, std, 2)


def _summaries(each: ResultRow, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Mean and deviation over seeds of the scalar metrics."""
    found = {}
    for metric in metrics:
        if _is_scalar(metric, [each]) and (summary := each.table.summary(metric.name)):
            found[metric.name] = summary._asdict()
    return found
