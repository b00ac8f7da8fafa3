"""Options of an analysis."""

import argparse
from pathlib import Path

from experiments.analysis import MEASURES
from experiments.analysis.functions import MODES


def parser(description: str | None = None) -> argparse.ArgumentParser:
    """The command line of ``python -m experiments.analyze``."""
    flags = argparse.ArgumentParser(prog="python -m experiments.analyze", description=description)
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
