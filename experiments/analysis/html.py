"""The report: one self-contained HTML file."""

import argparse
import base64
from collections.abc import Mapping, Sequence
from html import escape

from experiments.analysis.aggregate import Analysis, table
from experiments.analysis.measure import Drawing, GroupResult, Measure
from experiments.reporting.provenance import Provenance

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.7rem; text-align: right; border-bottom: 1px solid #8886; }
th { vertical-align: bottom; } td + td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 0; }
figure img { background: white; border-radius: 4px; max-width: 100%; height: auto; }
figcaption { max-width: 46rem; } .method, footer { opacity: 0.75; font-size: 0.9rem; }
"""


def report(
    analysis: Analysis,
    group_results: Mapping[str, Sequence[GroupResult]],
    measures: Mapping[str, Measure],
    options: argparse.Namespace,
    made: Provenance,
) -> str:
    """The text of the report; embeds the figures in ``options.output``."""
    drawings = [
        d for name, results in group_results.items() if results for d in measures[name].drawings
    ]
    title = "How flat are the minima?"
    rows = table(analysis, group_results, measures, options)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f"<h1>{title}</h1>",
            f"<p>{escape(_setting(analysis, options))}</p>",
            f'<div class="wide">{_table(rows)}</div>',
            *(_figure(drawing, options) for drawing in drawings),
            *(
                f"<p>Skipped: {escape(name)}: {escape(why)}.</p>"
                for name, why in analysis.skipped.items()
            ),
            f"<footer><h2>Runs</h2>{_runs(analysis)}<p>{escape(str(made))}</p></footer>",
            "</body>\n</html>\n",
        ]
    )


def _setting(analysis: Analysis, options: argparse.Namespace) -> str:
    """Data and settings of the measurements, in sentences."""
    runs = [run for group in analysis.groups for run in group.runs]
    subjects = sorted({f"{run.config.model} on {run.config.dataset}" for run in runs})
    shapes = sorted({run.batches.examples.labels.shape for run in runs})
    train = " or ".join(f"{n * m} ({n} minibatches of m = {m})" for n, m in shapes)
    test = " or ".join(map(str, sorted({len(run.data.test.labels) for run in runs})))
    mode = {"running": "the checkpoint's running", "batch": "each minibatch's own"}
    sentences = [
        f"{len(runs)} runs in {len(analysis.groups)} groups: {', '.join(subjects)}.",
        f"Measured on {train} training examples, not augmented, with the labels of training, and "
        f"on {test} test examples under noise. BatchNorm uses {mode[options.batchnorm]} statistics "
        "unless noted otherwise. The runs of a group differ only in their seed: numbers and lines "
        "are means over seeds, ± and bands one standard deviation.",
    ]
    if len({m for _, m in shapes}) > 1:
        sentences.append("Groups with different m cannot be compared: set one with --m.")
    return " ".join(sentences)


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = (_row(row, "td" if i else "th") for i, row in enumerate(rows))
    return f"<table>\n<thead>\n{head}\n</thead>\n<tbody>\n{chr(10).join(body)}\n</tbody>\n</table>"


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _figure(drawing: Drawing, options: argparse.Namespace) -> str:
    image = base64.b64encode((options.output / f"{drawing.name}.svg").read_bytes()).decode()
    return (
        f'<figure id="{drawing.name}">\n<h2>{escape(drawing.title)}</h2>\n'
        f'<img alt="{escape(drawing.title)}" src="data:image/svg+xml;base64,{image}">\n'
        f"<figcaption>{escape(drawing.caption)} "
        f'<span class="method">{escape(drawing.method_note(options))}</span></figcaption>\n'
        "</figure>"
    )


def _runs(analysis: Analysis) -> str:
    items = (
        f"<li>{escape(group.name)}, seed {escape(str(run.config.seed))}: "
        f"{escape(str(run.path))}, epoch {run.checkpoint.epoch}</li>"
        for group in analysis.groups
        for run in group.runs
    )
    return f"<ul>\n{chr(10).join(items)}\n</ul>"
