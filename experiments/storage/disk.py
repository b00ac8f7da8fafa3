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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a draft to write to, which replaces the file when the context ends.

    A reader finds the old content or the new one, whatever ends this process, and other processes
    may write the same file. No draft is left after an error, and an OSError names the path.
    """
    draft = path.with_name(f".{os.getpid()}.{path.name}")  # its ending can mean a format
    try:
        yield draft
        with open(draft, "rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def write_text(path: Path, text: str) -> None:
    """Replaces the content of a file, or makes one, as :func:`replacing` does."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


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
