"""The lock on a folder: one process at a time writes into it."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"
# File systems that cannot lock; two processes in one folder go unnoticed there.
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_claimed_here: set[Path] = set()


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Claims a folder for this process as long as the context lasts.

    Yields False if it is claimed already. The lock belongs to the open file, not to the file's
    existence: the kernel releases it when its process ends in whatever way, so no lock can be
    stale. It also holds between machines, if their shared file system supports ``flock``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve()
    with open(path / LOCK, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        _claimed_here.add(path)
        try:
            yield True
        finally:
            _claimed_here.remove(path)


@contextmanager
def only_writer(workdir: Path) -> Iterator[None]:
    """Makes this process the only one that writes into a workdir as long as the context lasts.

    Raises:
      ValueError: if another process does. A folder that this process has claimed is its own.
    """
    if workdir.resolve() in _claimed_here:
        yield
        return
    with claimed(workdir) as mine:
        if not mine:
            raise ValueError(
                f"another process is writing to {workdir}; wait for its end, or choose another "
                "--workdir."
            )
        yield
