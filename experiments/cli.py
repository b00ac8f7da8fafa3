"""Command lines: a config with overrides, a folder for results, errors without tracebacks."""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from textwrap import fill

from absl import app, flags, logging
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from experiments import data, models
from experiments.configs import base
from experiments.configs.lookup import load_config, setups, unknown
from experiments.methods import spec
from experiments.methods.table import METHODS
from experiments.storage.disk import user_path
from experiments.training import run_dir
from experiments.training.checkpoints import progress_of
from experiments.training.interrupts import Interrupted, interruption_note, interruptions

__all__ = [
    "Interrupted",
    "add_runs",
    "interruption_note",
    "interruptions",
    "plain",
    "resumable",
    "run",
    "user_errors",
]

flags.disclaim_key_flags()  # --help of a script shows the flags that are defined for it here

_HELP = {"--help", "-help", "--helpshort", "-h", "-?"}


@contextmanager
def user_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turns user errors into an exit message without a traceback."""
    try:
        yield
    except (OSError, ValueError, *kinds) as error:  # type: ignore[misc]
        sys.exit(f"error: {error}")


def add_runs(flags: argparse.ArgumentParser) -> None:
    """Adds ``--runs``, the folder of runs that several commands share."""
    flags.add_argument(
        "--runs",
        type=user_path,
        default=Path("runs/reproduce"),
        metavar="DIR",
        help="folder of all runs (%(default)s)",
    )


def resumable(workdir: Path, epochs: int) -> AbstractContextManager[None]:
    """Adds the number of finished epochs and steps of a run to the message of an interruption."""

    def note() -> str:
        done = progress_of(workdir / run_dir.CHECKPOINTS, epochs)
        return f"{workdir} has finished {done}, and the same command resumes there"

    return interruption_note(note)


def run(
    main: Callable[[ConfigDict, Path | None], None],
    before: Callable[[], None] = lambda: None,
    default: str = "digits",
) -> None:
    """Parses the command line and calls ``main`` with the config and ``--workdir``, if given.

    ``before`` runs between the two; ``default`` is the setup without ``--config``.
    """
    flags.DEFINE_string("workdir", None, "Folder for the results; made if missing.")
    if _HELP & set(sys.argv):
        print(_help(default))
        return

    def parse(argv: Sequence[str]) -> list[str]:
        with user_errors(flags.Error):
            _, positional = parse_config(argv, default, flags.FLAGS)
            if positional:
                raise ValueError(f"unexpected arguments: {' '.join(positional)}.")
        return [argv[0]]

    def call_main(argv: list[str]) -> None:
        del argv  # all flags have been parsed
        workdir = flags.FLAGS["workdir"].value
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # checkpoints would fill the screen
        with user_errors():
            before()
        with interruptions():  # set after `before`: the connection to other hosts sets its own
            main(flags.FLAGS["config"].value, user_path(workdir) if workdir else None)

    app.run(call_main, flags_parser=parse)


def parse_config(
    argv: Sequence[str], default: str, values: flags.FlagValues
) -> tuple[ConfigDict, list[str]]:
    """Reads ``--config`` and ``--config.key=value``, and all other flags into ``values``.

    Args:
      argv: the command line.
      default: the setup without ``--config``.
      values: the flags.

    Returns:
      The config, locked, and the positional arguments.

    Raises:
      ValueError: if there is no such config or key.
      flags.Error: if there is no such flag, or a value has another type.
    """
    # The config is loaded here: its own flag would turn errors of its file into page-long ones.
    setup = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    setup.add_argument("--config", default=default)
    chosen, argv = setup.parse_known_args(argv)
    config = load_config(chosen.config)
    for argument in argv:
        key = re.match(r"--?(?:no)?config\.([^=]*)", argument)
        if key and key[1] not in config:
            raise ValueError(
                f"{unknown('config key', key[1], config)} Arguments of a method are part of its "
                "string: --config.method=sam:rho=0.05."
            )
    config_flags.DEFINE_config_dict("config", config, sys_argv=argv, flag_values=values)
    positional = values(argv)[1:]
    for key, value in config.items():
        if isinstance(value, str) and value.startswith("~"):  # bash leaves it behind --config.key=
            config[key] = str(user_path(value))
    return config, positional


def _help(default: str) -> str:
    """The command's docstring and flags, and what the config's keys can be."""
    # Without the line that names the file of the program.
    described_flags = flags.FLAGS.main_module_help().strip().partition("\n")[2]
    methods = [spec.write(name, row.defaults) for name, row in METHODS.items()]
    keys = [f"--config.{key}={default}" for key, default in base.get_config().items()]
    return "\n".join(
        [
            plain(sys.modules["__main__"].__doc__),
            "Flags:",
            f"  --config: Setup, or Python file with a get_config().\n    (default: '{default}')",
            f"{described_flags}\n",
            _listed("Setups, --config", ", ".join(setups())),
            _listed("Datasets, --config.dataset", ", ".join(data.names())),
            _listed("Models, --config.model", ", ".join(models.names())),
            "\n  ".join(
                ["\nMethods with the defaults of their arguments, --config.method:", *methods]
            ),
            "\n  ".join(["\nKeys with the defaults that a setup may change:", *keys]),
        ]
    )


def _listed(title: str, names: str) -> str:
    return fill(f"{title}: {names}", 100, subsequent_indent="  ", break_long_words=False)


def plain(docstring: str | None) -> str:
    """A docstring as it is shown in a terminal, without its markup."""
    return (docstring or "").replace("::\n", ":\n").replace("``", "`")
