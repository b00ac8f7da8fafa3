r"""Measures the flatness of the minima of training runs, and draws the papers' figures.

For example::

    python -m experiments.analyze runs/sgd runs/lookbehind-seed* --output=analysis

Each RUN is the --workdir of a training run, opened read-only. Runs that differ only in their seed
form a group, of which mean and standard deviation are shown. Writes analysis.json, figures and
report.html. Training curves alone: --measures=training. The same command again resumes: results
are kept in OUTPUT/measures.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments import cli
from experiments.analysis import MEASURES, html
from experiments.analysis.aggregate import (
    Analysis,
    aggregate,
    as_json,
    select_measures,
    table,
)
from experiments.analysis.cache import measure_once
from experiments.analysis.figures import save
from experiments.analysis.groups import group_runs
from experiments.analysis.measure import RunResult
from experiments.analysis.options import parser
from experiments.analysis.runs import open_run
from experiments.configs.lookup import look_up
from experiments.reporting.progress import Progress
from experiments.reporting.provenance import Provenance, provenance
from experiments.reporting.tables import markdown_table
from experiments.storage import disk

NUMBERS, REPORT, CACHE = "analysis.json", "report.html", "measures"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the runs and writes the results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser(cli.plain(__doc__)).parse_args(arguments)
    kept = f"the same command resumes, with the results in {options.output / CACHE}"
    with cli.interruption_note(lambda: kept), cli.user_errors():
        analysis = analyze(options)
        write(analysis, options, provenance("experiments.analyze", arguments))
    for name, reason in analysis.skipped.items():
        print(f"Skipped: {name}: {reason}")
    print(f"Report: {options.output / REPORT}")


def write(analysis: Analysis, options: argparse.Namespace, made: Provenance) -> None:
    """Prints the table; writes numbers, figures and the report to ``options.output``."""
    group_results = {name: aggregate(analysis, name, MEASURES[name]) for name in analysis.results}
    options.output.mkdir(parents=True, exist_ok=True)
    head, *body = table(analysis, group_results, MEASURES, options)
    print(markdown_table([dict(zip(head, row, strict=True)) for row in body]))
    record = as_json(analysis, group_results, options) | {"made": made._asdict()}
    text = json.dumps(record, indent=1, allow_nan=False)
    disk.write_text(options.output / NUMBERS, text + "\n")
    for name, results in group_results.items():
        for drawing in MEASURES[name].drawings if results else ():
            save(drawing.draw(results, options), options.output, drawing.name)
    text = html.report(analysis, group_results, MEASURES, options, made)
    disk.write_text(options.output / REPORT, text)


def analyze(options: argparse.Namespace) -> Analysis:
    """Opens the runs and takes the measures."""
    for name in options.measures or ():
        look_up("measure", name, MEASURES)
    _check_distinct(options.runs)
    runs = [open_run(path, options) for path in options.runs]
    names, skipped = select_measures(MEASURES, options.measures, runs)
    results: dict[str, dict[str, RunResult]] = {name: {} for name in names}
    todo = [(run, name) for run in runs for name in names if MEASURES[name].applies(run, runs)]
    with Progress(len(todo), "measures") as progress:
        for run, name in todo:
            progress.start(f"{run.path.name}, {name}")
            results[name][str(run.path)] = measure_once(
                options.output / CACHE, name, MEASURES[name], run, runs, options
            )
            progress.end()
    return Analysis(group_runs(runs), results, skipped)


def _check_distinct(paths: Sequence[Path]) -> None:
    folders = [path.resolve() for path in paths]
    for path in paths:
        if folders.count(path.resolve()) > 1:
            raise ValueError(f"{path} is given more than once.")


if __name__ == "__main__":
    with cli.interruptions():
        main()
