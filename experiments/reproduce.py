r"""Reproduces tables and figures of the papers.

For example::

    python -m experiments.reproduce lookbehind.table1
    python -m experiments.reproduce aesam.figure5 aesam.figure7 --scale=paper --data_dir=~/data
    python -m experiments.reproduce --list

Does the training runs that are missing, measures them, and writes NAME.json, NAME.md, NAME.png and
NAME.svg. Items share runs. The same command again resumes; several processes may share one folder
of runs and divide them among themselves. ``all`` stands for every item. ``laws.edges`` measures the
edges of stability, in a quarter of an hour; it is given alone.
"""

import argparse
import os
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from absl import logging

from experiments import cli, papers
from experiments.results import page, tables
from experiments.results.collect import Plan, collect, plan
from experiments.results.item import SCALES
from experiments.results.markdown import markdown_table
from experiments.results.measuring import take_all
from experiments.results.runner import execute, share_compiled_programs
from experiments.results.runs import Run, hours
from experiments.storage.disk import user_path


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line and runs the requested mode."""
    options = parser().parse_args(arguments)
    logging.set_verbosity(logging.WARNING)
    with cli.user_errors():
        names = _names(options)
        if names and set(names) <= papers.STUDIES.keys():
            for name in names:
                _print_written(papers.STUDIES[name](options.output))
            return
        if options.redraw:
            for name in names:
                redraw(name, options.scale, options.output / options.scale)
            return
        plans = [
            plan(
                name,
                papers.load(name),
                options.scale,
                options.runs,
                options.seeds,
                options.data_dir,
            )
            for name in names
        ]
        if options.list:
            print(listing(plans, options.output))
        elif options.dry_run:
            print(dry_run(plans))
        elif options.commands:
            for run in _distinct(plans):
                if not run.is_done:
                    print(run.command_line())
        else:
            reproduce(plans, options.runs, options.output)


def reproduce(plans: Sequence[Plan], runs: Path, output: Path) -> None:
    """Does the missing runs of each plan in turn, measures and writes."""
    share_compiled_programs(runs)
    for each in plans:
        execute(each.runs)
        take_all(m for run in each.runs for m in each.measurements(run).values())
        files = page.write(collect(each, date.today().isoformat()), output / each.scale)
        _print_written(files)


def _print_written(files: Sequence[Path]) -> None:
    print(files[-1].with_suffix(".md").read_text(encoding="utf-8"))
    print("Written:", ", ".join(map(str, files)))


def redraw(name: str, scale: str, folder: Path) -> None:
    """Writes the page and the figure of a result again, from its JSON file."""
    if (folder / f"{name}.json").exists():
        files = page.write(page.read(name, papers.load(name), scale, folder), folder)
        print("Written:", ", ".join(map(str, files)))


def listing(plans: Sequence[Plan], output: Path) -> str:
    """A table of items and their state in these folders."""
    rows = []
    for each in plans:
        file = output / each.scale / f"{each.name}.json"
        done = sum(run.is_done for run in each.runs)
        rows.append(
            {
                "name": each.name,
                "title": each.item.title,
                "runs": f"{done}/{len(each.runs)}",
                "written": str(file) if file.exists() else "",
            }
        )
    return markdown_table(rows)


def dry_run(plans: Sequence[Plan]) -> str:
    """A table of runs, gradients and hours of what is missing."""
    together = _distinct(plans)
    finished = [run for run in together if run.is_done]
    rows = [{"name": each.name, **_cost(each.runs, finished)} for each in plans]
    rows.append({"name": "together, shared runs once", **_cost(together, finished)})
    return markdown_table(rows)


def _cost(runs: Sequence[Run], finished: Sequence[Run]) -> dict[str, str]:
    """Numbers of runs and of missing runs, with gradients and hours of the missing ones."""
    missing = [run for run in runs if not run.is_done]
    return {
        "runs": str(len(runs)),
        "missing": str(len(missing)),
        "gradients": f"{sum(run.size for run in missing):,.0f}",
        "hours, by finished runs": tables.number(hours(missing, finished), 2),
    }


def _distinct(plans: Iterable[Plan]) -> list[Run]:
    return list({run.path: run for each in plans for run in each.runs}.values())


def _names(options: argparse.Namespace) -> list[str]:
    """The requested items; with --list, all of them without a name."""
    names = options.names or (["all"] if options.list else [])
    if not names:
        known = ", ".join([*papers.ITEMS, *papers.STUDIES])
        raise ValueError(f"name at least one of: {known}, all.")
    if set(names) <= papers.STUDIES.keys():
        return names
    for name in names:
        if name in papers.STUDIES:
            raise ValueError(f"{name} does no training runs of a config; give it alone.")
        if name != "all":
            papers.load(name)
    return list(papers.ITEMS) if "all" in names else list(dict.fromkeys(names))


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
        help="laptop: digits, minutes on two cores; paper: the papers' settings (%(default)s)",
    )
    flags.add_argument(
        "--seeds", type=_positive, metavar="N", help="number of seeds; default: the item's"
    )
    cli.add_runs(flags)
    flags.add_argument(
        "--output",
        type=user_path,
        default=Path("runs/results"),
        metavar="DIR",
        help="folder of the results, with a subfolder for each scale (%(default)s)",
    )
    flags.add_argument(
        "--data_dir",
        type=os.path.expanduser,
        metavar="DIR",
        help="folder of the prepared TFDS datasets",
    )
    mode = flags.add_mutually_exclusive_group()
    mode.add_argument("--list", action="store_true", help="show all names and their state here")
    mode.add_argument(
        "--dry-run", action="store_true", help="show missing runs, their gradients and hours"
    )
    mode.add_argument(
        "--commands", action="store_true", help="print one training command a line and exit"
    )
    mode.add_argument(
        "--redraw", action="store_true", help="write pages and figures again from the JSON files"
    )
    return flags


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    with cli.interruptions():
        main()
