"""The end of one of several processes, in one line: after an error, or when another one is gone."""

import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import jax
from absl import logging

from experiments.parallel import native_errors

_COLLECTIVE = re.compile(r"\b(Gloo|NCCL|coordination_?service)\b", re.IGNORECASE)

_reporter: subprocess.Popen | None = None


def report(seconds: int) -> None:
    """Replaces the pages that JAX writes when it aborts this process by one line.

    Python's standard error stays as it is; what is written to file descriptor 2 by the libraries
    below goes through :mod:`experiments.parallel.native_errors`, in a process that outlives this
    one by a moment.

    Args:
      seconds: the time in which the processes have to connect.
    """
    global _reporter
    sys.stderr.flush()
    stderr = os.dup(2)
    _reporter = subprocess.Popen(
        [sys.executable, "-I", native_errors.__file__, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=stderr,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C is for this process only
    )
    assert _reporter.stdin is not None
    os.dup2(_reporter.stdin.fileno(), 2)
    _reporter.stdin.close()
    sys.stderr = os.fdopen(stderr, "w", buffering=1, errors="backslashreplace")
    logging.get_absl_handler().python_handler.setStream(sys.stderr)


@contextmanager
def ended() -> Iterator[None]:
    """Ends this process with one line if another process of the run is gone."""
    try:
        yield
    except Exception as error:
        if jax.process_count() == 1 or not _is_of_jax(error):
            raise
        line = f"error: {_lost(error)} is {native_errors.GONE}\n"
        # Through the reporter, which knows whether JAX has said so at the same time.
        os.write(2, line.encode())
        os._exit(1)  # not sys.exit: it would wait for the lost process


@contextmanager
def without_waiting() -> Iterator[None]:
    """Ends this process at once after an error: JAX would wait for the others, and they for it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if not jax.distributed.is_initialized():
            raise
        if isinstance(error, SystemExit):
            print(error.code, file=sys.stderr)
        else:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(1)


def _is_of_jax(error: BaseException | None) -> bool:
    """Whether a collective or a barrier failed."""
    while error is not None:
        text = str(error)
        if text.startswith("RESOURCE_EXHAUSTED"):  # this process has no memory left
            return False
        # Orbax and TensorStore pass on the text only.
        if isinstance(error, jax.errors.JaxRuntimeError) or _COLLECTIVE.search(text):
            return True
        error = error.__cause__ or error.__context__
    return False


def _lost(error: Exception) -> str:
    if jax.process_count() == 2:
        return f"process {1 - jax.process_index()}"
    task = re.search(r"[Tt]ask[ :](\d+)", str(error))
    return f"process {task[1]}" if task else "another process"
