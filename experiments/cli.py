"""Command lines: a config with overrides, a folder for results, errors without tracebacks."""

import inspect
import logging as python_logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from textwrap import fill, shorten
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from experiments import data, models
from experiments.configs import base
from experiments.configs.lookup import load_config, near_miss, setups
from experiments.methods import spec
from experiments.methods.table import METHODS
from experiments.training import run_dir
from experiments.training.checkpoints import progress_of

flags.disclaim_key_flags()  # --help of a script shows the flags that are defined for it here

_HELP = {"--help", "-help", "--helpshort", "-h", "-?"}


@contextmanager
def user_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turns user errors into an exit message without a traceback."""
    try:
        yield
    except (OSError, ValueError, MemoryError, *kinds) as error:  # type: ignore[misc]
        sys.exit(f"error: {error or type(error).__name__}")
    except jax.errors.JaxRuntimeError as error:
        first_line = str(error).partition("\n")[0]
        if not first_line.startswith("RESOURCE_EXHAUSTED"):
            raise
        sys.exit(
            f"error: {first_line} A smaller batch_size, eval_batch_size or model needs less; more "
            "microbatches do, too."
        )


class Interrupted(BaseException):
    """SIGINT or SIGTERM has arrived; notes that are added to it are printed."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


@contextmanager
def interruptions() -> Iterator[None]:
    """Ends the program with one line and exit code 130 for SIGINT, 143 for SIGTERM.

    The code within can add where it stopped, and how to resume, with ``add_note``. A second signal
    ends the program at once.
    """
    signals = (signal.SIGINT, signal.SIGTERM)

    def interrupt(signum: int, frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_DFL)
        python_logging.disable()  # libraries would report that they were interrupted
        raise Interrupted(signum)

    for each in signals:
        signal.signal(each, interrupt)
    try:
        yield
    except Interrupted as error:
        print(
            "; ".join([str(error), *getattr(error, "__notes__", [])]), file=sys.stderr, flush=True
        )
        with suppress(OSError):  # the reader of a pipe may have been interrupted, too
            sys.stdout.flush()  # os._exit does not
        # Not sys.exit: it would wait for the other processes of a run, and for running threads.
        os._exit(128 + error.signum)
    finally:
        for each in signals:  # a signal while Python shuts down ends it without a traceback
            signal.signal(each, signal.SIG_DFL)


@contextmanager
def interruption_note(note: Callable[[], str]) -> Iterator[None]:
    """Adds ``note()`` to the message of an interruption: where it stopped, and how to resume."""
    try:
        yield
    except Interrupted as interruption:
        interruption.add_note(note())
        raise


def resumable(workdir: Path, epochs: int) -> AbstractContextManager[None]:
    """Adds the number of finished epochs and steps of a run to the message of an interruption."""

    def note() -> str:
        done = progress_of(workdir / run_dir.CHECKPOINTS, epochs)
        return f"{workdir} has finished {done}, and the same command resumes there"

    return interruption_note(note)


class ConfigParser(flags.ArgumentParser):
    """Reads the value of ``--config``."""

    def parse(self, argument: str) -> ConfigDict:
        """Loads the config and keeps its keys."""
        config = load_config(argument)
        self.keys = tuple(config)
        return config


def run(
    main: Callable[[ConfigDict, Path | None], None],
    before: Callable[[], None] = lambda: None,
    default: str = "digits",
) -> None:
    """Parses the command line and calls ``main`` with the config and ``--workdir``, if given.

    ``before`` runs between the two; ``default`` is the setup without ``--config``.
    """
    argv = sys.argv
    if not any(re.match("--?config(=|$)", argument) for argument in argv):
        argv = [argv[0], f"--config={default}", *argv[1:]]
    parser = ConfigParser()
    # Accept unknown keys here; `_check_keys` rejects them with the list of valid ones.
    with user_errors(flags.Error):  # of --flagfile
        config = config_flags.DEFINE_config_file(
            "config",
            default,
            "Setup, or Python file with a get_config(); --config.key=value changes a key.",
            lock_config=False,
            accept_new_attributes=True,
            sys_argv=argv,
        )
    flags.FLAGS["config"].parser = parser
    workdir = flags.DEFINE_string("workdir", None, "Folder for the results; made if missing.")
    if _HELP & set(argv):
        print(_help())
        sys.exit()

    def parse(argv: Sequence[str]) -> list[str]:
        with user_errors(AttributeError, KeyError, TypeError, flags.Error):
            for argument in argv:
                key = re.match(r"--?config\.([^=]*)", argument)
                if key and not key[1].isidentifier():
                    raise ValueError(f"unknown config key {key[1]!r}.")
            positional = flags.FLAGS(argv)
            flag: Any = flags.FLAGS["config"]
            _check_keys(flag.override_values, parser.keys)
            if len(positional) > 1:
                raise ValueError(f"unexpected arguments: {shorten(' '.join(positional[1:]), 80)}.")
        return positional

    def call_main(argv: list[str]) -> None:
        del argv  # all flags have been parsed
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # checkpoints would fill the screen
        with user_errors():
            before()
        with interruptions():  # set after `before`: the connection to other hosts sets its own
            main(config.value.lock(), Path(workdir.value) if workdir.value else None)

    app.run(call_main, argv, flags_parser=parse)


def _check_keys(given: Mapping[str, object], valid: Sequence[str]) -> None:
    """Raises a ValueError that lists the config's keys if one was set that it does not have."""
    for key in given:
        if key in valid:
            continue
        names = [name for name, row in METHODS.items() if key in row.defaults]
        if names:
            raise ValueError(
                f"{key} is an argument of methods, not a config key: write "
                f"--config.method={names[0]}:{key}=... ({', '.join(names)} have it)."
            )
        raise ValueError(
            f"unknown config key {key}{near_miss(key, valid)}; valid ones: "
            f"{', '.join(sorted(valid))}."
        )


def _help() -> str:
    """The command's docstring and flags, and what the config's keys can be."""
    program = plain(sys.modules["__main__"].__doc__)
    # Without the line that names the file of the program.
    described_flags = flags.FLAGS.main_module_help().strip().partition("\n")[2]
    listed = {
        "Setups, --config": ", ".join(setups()),
        "Datasets, --config.dataset": ", ".join(data.names()),
        "Models, --config.model": ", ".join(models.names()),
    }
    methods = [spec.write(name, row.defaults) for name, row in METHODS.items()]
    keys = [f"--config.{key}: {text}" for key, text in _documented_keys()]
    return "\n".join(
        [
            f"{program}\nFlags:\n{described_flags}\n",
            *(_indented(f"{title}: {text}") for title, text in listed.items()),
            "\nMethods with their arguments and defaults, --config.method:",
            *map(_indented, methods),
            "\nKeys of the config, with the defaults that a setup may change:",
            *map(_indented, keys),
        ]
    )


def plain(docstring: str | None) -> str:
    """A docstring as it is shown in a terminal, without its markup."""
    return (docstring or "").replace("::\n", ":\n").replace("``", "`")


def _indented(text: str) -> str:
    return fill(text, 100, initial_indent="  ", subsequent_indent="      ", break_long_words=False)


def _documented_keys() -> list[tuple[str, str]]:
    """Each key with its default and its comment in ``configs/base.py``."""
    keys: list[tuple[str, str]] = []
    defaults = base.get_config()
    for line in inspect.getsource(base.get_config).splitlines():
        code, _, comment = line.partition("  # ")
        if assigned := re.match(r"\s+config\.(\w+) = ", code):
            default = defaults[assigned[1]]
            keys.append((assigned[1], f"({default!r}) {comment}"))
        elif keys and line.strip().startswith("# "):  # the comment continues
            key, text = keys[-1]
            keys[-1] = (key, f"{text} {line.strip()[2:]}")
    return keys
