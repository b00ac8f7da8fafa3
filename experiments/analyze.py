r"""Measures the flatness of the minima of training runs, and draws the papers' figures.

For example::

    python -m experiments.analyze runs/sgd runs/lookbehind-seed* --output=analysis

Each RUN is the --workdir of a training run, opened read-only. Runs that differ only in their seed
form a group, of which mean and standard deviation are shown. Writes analysis.json, figures and
report.md. Training curves alone: --measures=training. The same command again resumes: results
are kept in OUTPUT/measures.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments import cli
from experiments.configs.lookup import look_up
from experiments.results.analysis import CACHE, REPORT, Analysis, measure_once, table, write
from experiments.results.groups import group_runs
from experiments.results.measures import MEASURES, SAMPLE
from experiments.results.measures.functions import MODES
from experiments.results.measures.measure import Option
from experiments.results.measures.trained_run import TrainedRun, open_run
from experiments.results.progress import Progress
from experiments.results.table import Table
from experiments.storage.disk import user_path
from experiments.training.provenance import provenance


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the runs and writes the results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    kept = f"the same command resumes, with the results in {options.output / CACHE}"
    with cli.interruption_note(lambda: kept), cli.user_errors():
        analysis = analyze(options, arguments)
        print(table(analysis))
        write(analysis, options.output)
    for name, reason in analysis.skipped.items():
        print(f"Skipped: {name}: {reason}")
    print(f"Report: {options.output / REPORT}")


def analyze(options: argparse.Namespace, arguments: Sequence[str]) -> Analysis:
    """Opens the runs and takes the measures."""
    sample = {name: getattr(options, name) for name in SAMPLE}
    where = {"epoch": options.epoch, "data_dir": options.data_dir}
    for name in options.measures or ():
        look_up("measure", name, MEASURES)
    runs = [open_run(path, **sample, **where) for path in options.runs]
    groups = group_runs(runs)
    names, skipped = _available(options.measures, runs)
    chosen = {name: {o: getattr(options, o) for o in MEASURES[name].options} for name in names}
    results: dict[str, dict[Path, Table]] = {name: {} for name in names}
    todo = [(run, name) for run in runs for name in names if MEASURES[name].applies(run, runs)]
    with Progress(len(todo), "measures") as progress:
        for run, name in todo:
            progress.start(f"{run.path.name}, {name}")
            results[name][run.path], computed = measure_once(
                options.output / CACHE, name, run, runs, chosen[name], sample
            )
            progress.end() if computed else progress.count(1)
    made = provenance("experiments.analyze", arguments)
    return Analysis(groups, results, chosen, sample, skipped, made)


def _available(
    requested: Sequence[str] | None, runs: Sequence[TrainedRun]
) -> tuple[list[str], dict[str, str]]:
    """The measures to take, and those to skip with the reason.

    Raises:
      ValueError: if a requested measure cannot be taken.
    """
    reasons = {name: MEASURES[name].unavailable(runs) for name in requested or MEASURES}
    skipped = {name: reason for name, reason in reasons.items() if reason}
    if requested and skipped:
        raise ValueError(
            "; ".join(f"{name} cannot be measured: {reason}" for name, reason in skipped.items())
        )
    return [name for name in reasons if name not in skipped], skipped


def parser() -> argparse.ArgumentParser:
    """The command line, with an option for each one of a measure."""
    flags = argparse.ArgumentParser(
        prog="python -m experiments.analyze", description=cli.plain(__doc__)
    )
    flags.formatter_class = argparse.RawDescriptionHelpFormatter
    flags.add_argument("runs", nargs="+", type=user_path, metavar="RUN", help="workdir of a run")
    flags.add_argument(
        "--output",
        type=user_path,
        default=Path("analysis"),
        help="folder for the results (analysis)",
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
        "--data_dir",
        type=os.path.expanduser,
        metavar="DIR",
        help="TFDS folder; default: the one of training",
    )
    for name, option in SAMPLE.items():
        choices = MODES if name == "batchnorm" else None
        flags.add_argument(f"--{name}", choices=choices, **_as_flag(option))
    for name, measure in MEASURES.items():
        group = flags.add_argument_group(name)
        for each, option in measure.options.items():
            group.add_argument(f"--{each}", **_as_flag(option))
    return flags


def _as_flag(option: Option) -> dict[str, Any]:
    """Type, default and help of an option; numbers are separated by commas."""
    kind: Callable[[str], Any] = int if option.default is None else type(option.default)
    default = str(option.default)
    if kind is tuple:
        kind, default = _numbers, ",".join(map(str, option.default))
    shown = option.help if option.default is None else f"{option.help} ({default})"
    return {"type": kind, "default": option.default, "help": shown}


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected numbers separated by commas, such as 0.05,0.1; got {text!r}"
        ) from None


if __name__ == "__main__":
    with cli.interruptions():
        main()
