r"""Reproduces tables and figures of the papers.

For example::

    python -m experiments.reproduce lookbehind.table1
    python -m experiments.reproduce aesam.figure5 aesam.figure6 --scale=gpu --data_dir=~/data
    python -m experiments.reproduce --list

Does the training runs that are missing, measures them, and writes NAME.json, NAME.md, NAME.png and
NAME.svg. Recipes share runs. The same command again resumes; several processes may share one folder
of runs and divide them among themselves. ``all`` stands for every name.
"""

import argparse
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import jax
from absl import logging

from experiments import cli, recipes, train
from experiments.campaign import cost, report
from experiments.campaign.collect import Plan, collect, plan
from experiments.campaign.execute import execute
from experiments.campaign.measuring import measure_all
from experiments.campaign.runs import Run
from experiments.continual import __main__ as continual
from experiments.recipes.recipe import SCALES
from experiments.reporting.tables import markdown_lines

_MAINS = {
    "experiments.train": partial(train.main, show_progress=False),
    "experiments.continual": partial(continual.main, show_progress=False),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line and runs the requested mode."""
    options = parser().parse_args(arguments)
    logging.set_verbosity(logging.WARNING)
    with cli.user_errors():
        plans = list(make_plans(options))
        if options.list:
            print(listing(plans, options))
        elif options.dry_run:
            print(dry_run(plans, options))
        elif options.commands:
            for run in _missing(plans):
                print(run.command_line())
        else:
            reproduce(plans, options)


def reproduce(plans: Sequence[Plan], options: argparse.Namespace) -> None:
    """Does the missing runs of each plan in turn, measures and writes."""
    _share_compiled_programs(options.runs)
    for each in plans:
        execute(list(each.distinct_runs.values()), _MAINS)
        measure_all(each.measurements, options.data_dir)
        files = report.write(each, collect(each), options.output / options.scale)
        print(files[1].read_text(encoding="utf-8"))
        print("Written:", ", ".join(map(str, files)))


def make_plans(options: argparse.Namespace) -> Iterable[Plan]:
    """The plans of the requested recipes."""
    names = options.names or (["all"] if options.list else [])
    if not names:
        raise ValueError(f"name at least one of: {', '.join(recipes.names())}, all.")
    if "all" in names:
        names = recipes.names()
    for name in dict.fromkeys(names):
        recipe = recipes.load(name)
        yield plan(name, recipe, options.scale, options.runs, options.seeds, options.data_dir)


def listing(plans: Sequence[Plan], options: argparse.Namespace) -> str:
    """A table of recipes and their state in this folder of runs."""
    rows = [["name", "title", "runs", "written"]]
    for each in plans:
        runs = each.distinct_runs.values()
        file = options.output / options.scale / f"{each.name}.json"
        done = sum(run.is_done for run in runs)
        rows.append(
            [
                each.name,
                each.recipe.title,
                f"{done}/{len(runs)}",
                str(file) if file.exists() else "",
            ]
        )
    return "\n".join(markdown_lines(rows))


def dry_run(plans: Sequence[Plan], options: argparse.Namespace) -> str:
    """A table of runs, gradients and hours on this machine, of what is missing."""
    cache = options.runs / "gradient_seconds.json"
    rows = [["name", "runs", "missing", "gradients", "hours here"]]
    for each in plans:
        rows.append([each.name, *_cost(each.distinct_runs.values(), cache)])
    everything = {run.path: run for each in plans for run in each.distinct_runs.values()}
    rows.append(["together, shared runs once", *_cost(everything.values(), cache)])
    return "\n".join(markdown_lines(rows))


def _cost(runs: Iterable[Run], cache: Path) -> list[str]:
    """Numbers of runs and of missing runs, with gradients and hours of the missing ones."""
    runs = list(runs)
    missing = [run for run in runs if not run.is_done]
    gradients = sum(cost.gradients(run.config) for run in missing)
    hours = cost.hours(missing, cache)
    return [str(len(runs)), str(len(missing)), f"{gradients:,.0f}", f"{hours:,.2f}"]


def _missing(plans: Iterable[Plan]) -> list[Run]:
    everything = {run.path: run for each in plans for run in each.distinct_runs.values()}
    return [run for run in everything.values() if not run.is_done]


def _share_compiled_programs(root: Path) -> None:
    """Keeps compiled programs in the folder of the runs: many differ in their seed only."""
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str((root / ".compiled").absolute()))
        # Also the small programs that make initial weights, of which there are many.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    flags = argparse.ArgumentParser(
        prog="python -m experiments.reproduce", description=cli.plain(__doc__)
    )
    flags.formatter_class = argparse.RawDescriptionHelpFormatter
    flags.add_argument(
        "names", nargs="*", metavar="NAME", help="tables and figures, or all; --list shows them"
    )
    flags.add_argument(
        "--scale",
        choices=SCALES,
        default=SCALES[0],
        help="laptop: digits, minutes on two cores; gpu: the papers' networks, a smaller budget; "
        "paper: the papers' settings (%(default)s)",
    )
    flags.add_argument(
        "--seeds", type=_positive, metavar="N", help="number of seeds; default: the recipe's"
    )
    flags.add_argument(
        "--runs",
        type=Path,
        default=Path("runs/reproduce"),
        metavar="DIR",
        help="folder of all runs (%(default)s)",
    )
    flags.add_argument(
        "--output",
        type=Path,
        default=Path("runs/results"),
        metavar="DIR",
        help="folder of the results, with a subfolder for each scale (%(default)s)",
    )
    flags.add_argument("--data_dir", metavar="DIR", help="folder of the prepared TFDS datasets")
    mode = flags.add_mutually_exclusive_group()
    mode.add_argument("--list", action="store_true", help="show all names and their state here")
    mode.add_argument(
        "--dry-run", action="store_true", help="show missing runs, gradients and hours here"
    )
    mode.add_argument(
        "--commands", action="store_true", help="print one training command a line and exit"
    )
    return flags


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    with cli.interruptions():
        main()
