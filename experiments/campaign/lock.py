"""Locks on run folders, so that several processes can share them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = ".lock"


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Claims a folder for this process as long as the context lasts.

    Yields False if another process has claimed it. The lock belongs to the open file, not to the
    file's existence: the kernel releases it when its process ends in whatever way, so no lock can
    be stale. It also holds between machines, if their shared file system supports ``flock``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _LOCK, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
