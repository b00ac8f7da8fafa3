"""Errors of Orbax and the libraries below it, in one line and without their logs."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from absl import logging as absl_logging

_MAX_LENGTH = 300


@contextmanager
def without_logs() -> Iterator[None]:
    """Drops what Orbax and its event loops log, tracebacks included: the errors are raised, too."""
    loggers = (absl_logging.get_absl_logger(), logging.getLogger("asyncio"))
    hook = sys.unraisablehook
    for logger in loggers:
        logger.addFilter(_is_not_of_a_library)
    sys.unraisablehook = _ignore  # event loops that are closed before their callbacks end
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for logger in loggers:
            logger.removeFilter(_is_not_of_a_library)


def _ignore(unraisable: object) -> None:
    pass


def _is_not_of_a_library(record: logging.LogRecord) -> bool:
    return not re.search(r"[/\\](orbax|asyncio)[/\\]", record.pathname)


def reason(error: BaseException) -> str:
    """The reason of the operating system if there is one, else the error in one line."""
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
        if found := re.search(r"\[os_error_code='(\d+)'\]", str(each)):  # of TensorStore
            return os.strerror(int(found[1]))
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."
