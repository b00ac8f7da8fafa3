r"""Chooses the settings of the comparison by the validation error.

    python -m experiments.papers.forecasting.search --data_dir=DIR --scale=laptop

DIR has ETTh1.csv and ETTh2.csv. For each series and searched horizon, every row's settings are
tried with one seed and the best quarter with two more; the score is the lowest validation MSE of a
run, and nothing is evaluated on the test part. The same command again resumes; several processes
may share the folder of the runs.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import logging

from experiments import cli
from experiments.configs.base import with_changes
from experiments.papers.forecasting.settings import (
    CONTROL,
    HORIZONS,
    SERIES,
    Searched,
    base_config,
    chosen_file,
    regularizers,
    searched,
)
from experiments.results.item import SCALES
from experiments.results.runner import share_compiled_programs
from experiments.results.search import Choice, choose, write


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line and chooses what has not been chosen yet."""
    options = parser().parse_args(arguments)
    logging.set_verbosity(logging.WARNING)
    with cli.user_errors():
        share_compiled_programs(options.runs)
        for series in SERIES:
            for horizon in sorted(set(HORIZONS[options.scale].values())):
                file = chosen_file(options.scale, series, horizon)
                choices = search(options.scale, series, horizon, options.data_dir, options.runs)
                write(file, list(choices.values()))
                for name, choice in choices.items():
                    error = -choice.trials[0].mean
                    print(f"{series}, {horizon}, {name}: {choice.changes}, MSE {error:.4f}")
                print(f"Written: {file}")


def search(scale: str, series: str, horizon: int, data_dir: str, runs: Path) -> dict[str, Choice]:
    """The chosen setting of each row, by name.

    Args:
      scale: one of ``SCALES``.
      series: the series.
      horizon: the horizon.
      data_dir: the folder of the series.
      runs: the folder of all runs.
    """
    config = with_changes(base_config(series, horizon), {"data_dir": data_dir, "eval_test": False})
    choices: dict[str, Choice] = {}
    for row in searched(scale):
        keys = {"model": row.model} | _regularizers(row, choices)
        (choices[row.name],) = choose(
            with_changes(config, keys),
            [row.candidates(scale)],
            runs,
            score=lowest_error,
            held_out=0.0,
        )
    return choices


def _regularizers(row: Searched, choices: Mapping[str, Choice]) -> dict[str, float]:
    return regularizers(row, choices[CONTROL]) if CONTROL in choices else {}


def lowest_error(history: Sequence[Mapping[str, float]]) -> float:
    """The score of a run, higher is better: minus the validation MSE of its best epoch."""
    return -min(record["val_mse"] for record in history)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    flags = argparse.ArgumentParser(
        prog="python -m experiments.papers.forecasting.search", description=cli.plain(__doc__)
    )
    flags.formatter_class = argparse.RawDescriptionHelpFormatter
    flags.add_argument(
        "--data_dir", required=True, metavar="DIR", help="folder of ETTh1.csv and ETTh2.csv"
    )
    flags.add_argument("--scale", choices=SCALES, default=SCALES[0], help="(%(default)s)")
    flags.add_argument(
        "--runs",
        type=Path,
        default=Path("runs/reproduce"),
        metavar="DIR",
        help="folder of all runs (%(default)s)",
    )
    return flags


if __name__ == "__main__":
    with cli.interruptions():
        main()
