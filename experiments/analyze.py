r"""Measures the flatness of the minima of training runs, and draws the papers' figures.

For example::

    python -m experiments.analyze runs/sgd runs/lookbehind-seed* --output=analysis

Each RUN is the --workdir of a training run, opened read-only. Runs that differ only in their seed
form a group, of which mean and standard deviation are shown. Writes analysis.json, figures and
report.html. Training curves alone: --measures=training.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from experiments import cli
from experiments.analysis import MEASURES, html
from experiments.analysis.aggregate import Analysis, aggregate, as_json, select_measures
from experiments.analysis.figures import save
from experiments.analysis.functions import MODES
from experiments.analysis.groups import group_runs, to_json_types
from experiments.analysis.measure import RunResult
from experiments.analysis.runs import open_run
from experiments.configs.lookup import look_up

NUMBERS, REPORT = "analysis.json", "report.html"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the runs and writes the results."""
    options = parser().parse_args(arguments)
    with cli.user_errors():
        analysis = analyze(options)
        write(analysis, options)
    for name, reason in analysis.skipped.items():
        print(f"Skipped: {name}: {reason}")
    print(f"Report: {options.output / REPORT}")


def write(analysis: Analysis, options: argparse.Namespace) -> None:
    """Writes numbers, figures and the report to ``options.output``."""
    group_results = {name: aggregate(analysis, name, MEASURES[name]) for name in analysis.results}
    options.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(analysis, group_results, options), indent=1, allow_nan=False)
    (options.output / NUMBERS).write_text(text + "\n", encoding="utf-8")
    for name, results in group_results.items():
        for drawing in MEASURES[name].drawings if results else ():
            save(drawing.draw(results, options), options.output, drawing.name)
    text = html.report(analysis, group_results, MEASURES, options)
    (options.output / REPORT).write_text(text, encoding="utf-8")


def analyze(options: argparse.Namespace) -> Analysis:
    """Opens the runs and takes the measures."""
    for name in options.measures or ():
        look_up("measure", name, MEASURES)
    _check_distinct(options.runs)
    runs = [open_run(path, options) for path in options.runs]
    names, skipped = select_measures(MEASURES, options.measures, runs)
    results: dict[str, dict[str, RunResult]] = {name: {} for name in names}
    with tqdm(total=len(runs) * len(names), unit=" measures", dynamic_ncols=True) as bar:
        for run in runs:
            for name in names:
                bar.set_description(f"{run.path.name}, {name}")
                measure = MEASURES[name]
                if measure.applies(run, runs):
                    result = measure.compute(run, runs, options)
                    results[name][str(run.path)] = to_json_types(result)
                bar.update()
    return Analysis(group_runs(runs), results, skipped)


def _check_distinct(paths: Sequence[Path]) -> None:
    folders = [path.resolve() for path in paths]
    for path in paths:
        if folders.count(path.resolve()) > 1:
            raise ValueError(f"{path} is given more than once.")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    flags = argparse.ArgumentParser(prog="python -m experiments.analyze", description=__doc__)
    flags.formatter_class = argparse.RawDescriptionHelpFormatter
    flags.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="workdir of a run")
    flags.add_argument(
        "--output", type=Path, default=Path("analysis"), help="folder for the results (analysis)"
    )
    flags.add_argument(
        "--measures",
        type=lambda text: text.split(","),
        metavar="NAME,...",
        help=f"measures to take, of {', '.join(MEASURES)}; default: all that apply",
    )
    flags.add_argument(
        "--epoch",
        type=int,
        metavar="N",
        help="epoch of the checkpoint; default: the newest of each run",
    )
    flags.add_argument(
        "--data_dir", metavar="DIR", help="TFDS folder; default: the one of training"
    )
    flags.add_argument(
        "--examples",
        type=int,
        default=2048,
        metavar="N",
        help="maximum number of training examples (%(default)s)",
    )
    flags.add_argument(
        "--test_examples",
        type=int,
        default=10_000,
        metavar="N",
        help="maximum number of test examples (%(default)s)",
    )
    flags.add_argument(
        "--m", type=int, metavar="M", help="minibatch size; default: the batch_size of the run"
    )
    flags.add_argument(
        "--batchnorm",
        choices=MODES,
        default="running",
        help="statistics: running ones of the checkpoint, or of each minibatch (%(default)s)",
    )
    for name, measure in MEASURES.items():
        measure.add_arguments(flags.add_argument_group(name))
    return flags


if __name__ == "__main__":
    main()
