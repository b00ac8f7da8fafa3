r"""Measures how flat the minima of training runs are, and draws the papers' figures.

For example::

    python -m experiments.analyze runs/sgd runs/lookbehind-seed* --output=analysis

Each RUN is the --workdir of a training run and is only read. Runs that differ only in their seed
make one group: mean and standard deviation. Writes analysis.json, figures and report.html.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from experiments import cli
from experiments.analysis import MEASURES, html
from experiments.analysis.aggregate import Analysis, as_json, choose, of_groups
from experiments.analysis.figures import save
from experiments.analysis.functions import MODES
from experiments.analysis.groups import grouped, plain
from experiments.analysis.measure import Result
from experiments.analysis.runs import open_run
from experiments.configs.lookup import look_up

NUMBERS, REPORT = "analysis.json", "report.html"


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the runs, measures them and writes what was found."""
    options = parser().parse_args(arguments)
    with cli.user_errors():
        analysis = analyze(options)
        write(analysis, options)
    for name, reason in analysis.skipped.items():
        print(f"Left out: {name}; {reason}")
    print(f"Report: {options.output / REPORT}")


def write(analysis: Analysis, options: argparse.Namespace) -> None:
    """Writes numbers, figures and the report."""
    found = {name: of_groups(analysis, name, MEASURES[name]) for name in analysis.results}
    options.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(analysis, found, options), indent=1, allow_nan=False)
    (options.output / NUMBERS).write_text(text + "\n", encoding="utf-8")
    for name, results in found.items():
        for drawing in MEASURES[name].drawings if results else ():
            save(drawing.draw(results, options), options.output, drawing.name)
    text = html.report(analysis, found, MEASURES, options)
    (options.output / REPORT).write_text(text, encoding="utf-8")


def analyze(options: argparse.Namespace) -> Analysis:
    """Opens the runs and takes the measures."""
    for name in options.measures or ():
        look_up("measure", name, MEASURES)
    _check_once(options.runs)
    runs = [open_run(path, options) for path in options.runs]
    chosen, skipped = choose(MEASURES, options.measures, runs)
    results: dict[str, dict[str, Result]] = {name: {} for name in chosen}
    with tqdm(total=len(runs) * len(chosen), unit=" measures", dynamic_ncols=True) as bar:
        for run in runs:
            for name in chosen:
                bar.set_description(f"{run.path.name}, {name}")
                measure = MEASURES[name]
                if measure.applies(run, runs):
                    results[name][str(run.path)] = plain(measure.compute(run, runs, options))
                bar.update()
    return Analysis(grouped(runs), results, skipped)


def _check_once(paths: Sequence[Path]) -> None:
    folders = [path.resolve() for path in paths]
    for path in paths:
        if folders.count(path.resolve()) > 1:
            raise ValueError(f"{path} is given more than once.")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    flags = argparse.ArgumentParser(prog="python -m experiments.analyze", description=__doc__)
    flags.formatter_class = argparse.RawDescriptionHelpFormatter
    flags.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's workdir")
    flags.add_argument(
        "--output", type=Path, default=Path("analysis"), help="folder for the results (analysis)"
    )
    flags.add_argument(
        "--measures",
        type=lambda text: text.split(","),
        metavar="NAME,...",
        help=f"which to take, of {', '.join(MEASURES)}; unset: all that these runs allow",
    )
    flags.add_argument(
        "--epoch", type=int, metavar="N", help="which checkpoint; unset: each run's newest"
    )
    flags.add_argument(
        "--data_dir", metavar="DIR", help="where TFDS keeps its data, if no longer as in training"
    )
    flags.add_argument(
        "--examples",
        type=int,
        default=2048,
        metavar="N",
        help="training examples to measure on, at most (%(default)s)",
    )
    flags.add_argument(
        "--test_examples",
        type=int,
        default=10_000,
        metavar="N",
        help="test examples to measure on, at most (%(default)s)",
    )
    flags.add_argument(
        "--m", type=int, metavar="M", help="examples of a minibatch; unset: the run's batch_size"
    )
    flags.add_argument(
        "--batchnorm",
        choices=MODES,
        default="running",
        help="statistics: the checkpoint's, or each minibatch's own (%(default)s)",
    )
    for name, measure in MEASURES.items():
        measure.add_arguments(flags.add_argument_group(name))
    return flags


if __name__ == "__main__":
    main()
