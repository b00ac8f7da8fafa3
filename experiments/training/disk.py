"""Writing to disks that may be full, read-only or gone: errors that name the path."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Adds the path to an OSError that has none, as those of ``write`` and ``close``."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def reserve(folder: Path, num_bytes: int) -> None:
    """Raises OSError, with path and reason, unless a file of that size can be written to a folder.

    Allocates such a file and removes it, which takes no time on common file systems. It fails for a
    full disk, an exhausted quota, missing permissions and too many open files before any library
    has begun to write.
    """
    path = folder / f".reserve.{os.getpid()}"
    try:
        with open(path, "wb") as file:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        with suppress(OSError):
            path.unlink()
