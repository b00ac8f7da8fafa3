"""Signals of users and schedulers: how they end a command, and where a run stops for them."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import jax

# Ctrl-C, a terminal that closes, and what schedulers send before a time limit.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU)


class Interrupted(KeyboardInterrupt):
    """A signal to stop has arrived; notes that are added to it are printed."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


@contextmanager
def interruptions() -> Iterator[None]:
    """Ends the program with one line and exit code 128 + signal: 130 for SIGINT, 143 for SIGTERM.

    The code within can add where it stopped, and how to resume, with ``add_note``. A second signal
    ends the program at once.
    """

    def interrupt(signum: int, frame: object) -> None:
        _set_handlers(signal.SIG_DFL)
        raise Interrupted(signum)

    _set_handlers(interrupt)
    try:
        yield
    except Interrupted as error:
        message = "; ".join([str(error), *getattr(error, "__notes__", [])])
        print(message, file=sys.stderr, flush=True)
        with suppress(OSError):  # the reader of a pipe may have been interrupted, too
            sys.stdout.flush()  # os._exit does not
        # Not sys.exit: it would wait for the other processes of a run, and for running threads.
        os._exit(128 + error.signum)
    finally:
        _set_handlers(signal.SIG_DFL)  # a signal while Python shuts down: no traceback


@contextmanager
def interruption_note(note: Callable[[], str]) -> Iterator[None]:
    """Adds ``note()`` to the message of an interruption: where it stopped, and how to resume."""
    try:
        yield
    except Interrupted as interruption:
        interruption.add_note(note())
        raise


@contextmanager
def postponed() -> Iterator[Callable[[], Interrupted | None]]:
    """Lets a run reach a point from which it can resume, before a signal stops it.

    Yields a function that returns the exception to raise there, None without a signal. A second
    signal is not postponed. In a run of several processes none is, because they would stop at
    different steps, nor outside of Python's main thread, which cannot handle signals.
    """
    if jax.process_count() > 1 or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    arrived: list[Interrupted] = []
    before = {signum: signal.getsignal(signum) for signum in _SIGNALS}

    def restore() -> None:
        for signum, handler in before.items():
            signal.signal(signum, handler)

    def postpone(signum: int, frame: object) -> None:
        arrived.append(Interrupted(signum))
        restore()
        # Not print, which may be what the signal has interrupted.
        os.write(2, b"\nstopping at the next point to resume from; a second signal stops at once\n")

    _set_handlers(postpone)
    try:
        yield lambda: arrived[0] if arrived else None
    finally:
        restore()


def _set_handlers(handler: Callable[[int, object], None] | signal.Handlers) -> None:
    for signum in _SIGNALS:
        if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:  # under nohup
            signal.signal(signum, handler)
