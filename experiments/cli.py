"""Command lines: a config file with overrides, a folder for results, errors without tracebacks."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

flags.disclaim_key_flags()  # --help of a script shows the flags that are defined for it here

_DIGITS = Path(__file__).parent / "configs" / "digits.py"


@contextmanager
def user_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Ends the program with a message where what the user asked for cannot be done."""
    try:
        yield
    except (OSError, ValueError, *kinds) as error:
        sys.exit(f"error: {error}")


def run(
    main: Callable[[ConfigDict, Path | None], None], before: Callable[[], None] = lambda: None
) -> None:
    """Parses the command line and calls ``main`` with the config and ``--workdir``, if given.

    ``before`` runs between the two.
    """
    with user_errors(AttributeError, KeyError):
        # New keys are let in, to be refused below where the valid ones can be listed.
        config = config_flags.DEFINE_config_file(
            "config",
            str(_DIGITS),
            "Python file whose get_config() has every key; --config.key=value changes one.",
            lock_config=False,
            accept_new_attributes=True,
        )
    workdir = flags.DEFINE_string("workdir", None, "Folder for the results; made if missing.")

    def parse(argv: list[str]) -> list[str]:
        with user_errors(AttributeError, KeyError):
            positional = app.parse_flags_with_usage(argv)
            _check_keys(flags.FLAGS["config"])
            if len(positional) > 1:
                raise ValueError(f"unexpected arguments: {' '.join(positional[1:])}.")
        return positional

    def call_main(argv: list[str]) -> None:
        del argv  # nothing is left in it
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # checkpoints would fill the screen
        with user_errors():
            before()
        main(config.value.lock(), Path(workdir.value) if workdir.value else None)

    app.run(call_main, flags_parser=parse)


def _check_keys(flag: flags.Flag) -> None:
    """Raises a ValueError that lists the config's keys where one was set that it does not have."""
    known = config_flags.ConfigFileFlagParser("config").parse(flag.config_filename)
    unknown = flag.override_values.keys() - known.keys()
    if unknown:
        raise ValueError(
            f"unknown config key {', '.join(sorted(unknown))}; valid ones: {', '.join(known)}."
        )
