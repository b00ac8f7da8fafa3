"""Files that are replaced as a whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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


def user_path(text: str) -> Path:
    """The path that a user has typed: ``~`` is the home folder, also in ``--flag=~/runs``."""
    return Path(text).expanduser()
