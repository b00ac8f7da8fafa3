r"""Chooses the settings of comparisons on held-out data, and writes them beside their methods.

For example::

    python -m experiments.papers.search digits
    python -m experiments.papers.search cifar.noisy --data_dir=DIR
    python -m experiments.papers.search forecasting.laptop --data_dir=DIR

Every method has equally many settings; each is tried with one seed and the best quarter with two
more (:mod:`experiments.results.search`). Nothing is evaluated on test data. The same command again
resumes; several processes may share the folder of the runs.
"""

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from absl import logging

from experiments import cli
from experiments.configs.lookup import look_up
from experiments.papers.cifar import settings as cifar
from experiments.papers.comparison import methods as digits
from experiments.papers.forecasting import search as forecasting
from experiments.papers.radius import settings as radius
from experiments.results.item import SCALES
from experiments.results.runner import share_compiled_programs
from experiments.results.search import Choice, write

# Name -> (data_dir, runs) -> pairs of a file and the choices for it.
SEARCHES: Mapping[str, Callable[[str | None, Path], Iterable[tuple[Path, Sequence[Choice]]]]] = {
    "digits": digits.search,
    **{f"cifar.{labels}": partial(cifar.search, labels) for labels in cifar.NOISE},
    **{f"forecasting.{scale}": partial(forecasting.search, scale) for scale in SCALES},
    **{f"radius.{task}": partial(radius.search, task) for task in radius.TASKS},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line, chooses and writes."""
    options = parser().parse_args(arguments)
    logging.set_verbosity(logging.WARNING)
    with cli.user_errors():
        search = look_up("comparison", options.name, SEARCHES)
        share_compiled_programs(options.runs)
        for file, choices in search(options.data_dir, options.runs):
            write(file, choices)
            for choice in choices:
                print(f"{choice.changes}: {choice.trials[0].mean:.4g}")
            print(f"Written: {file}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    flags = argparse.ArgumentParser(
        prog="python -m experiments.papers.search", description=cli.plain(__doc__)
    )
    flags.formatter_class = argparse.RawDescriptionHelpFormatter
    flags.add_argument("name", metavar="NAME", help=", ".join(SEARCHES))
    flags.add_argument(
        "--data_dir", type=os.path.expanduser, metavar="DIR", help="folder or file of the data"
    )
    cli.add_runs(flags)
    return flags


if __name__ == "__main__":
    with cli.interruptions():
        main()
