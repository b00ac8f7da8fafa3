"""The lock on a folder: one process at a time writes into it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError as error:
    raise ImportError(
        "experiments runs on Linux and macOS; on Windows use it in WSL. (The library, "
        "optax_lookbehind, has no such limit.)"
    ) from error

LOCK = ".lock"
# File systems that cannot lock; two processes in one folder go unnoticed there.
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_locked_here: set[Path] = set()


@contextmanager
def try_lock(folder: Path) -> Iterator[bool]:
    """Locks a folder as long as the context lasts; yields False if another holds the lock.

    The lock belongs to the open file, not to the file's existence: the kernel releases it when its
    process ends in whatever way, so no lock can be stale. It also holds between machines, if their
    shared file system supports ``flock``.
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
        _locked_here.add(path)
        try:
            yield True
        finally:
            _locked_here.remove(path)


@contextmanager
def only_writer(workdir: Path) -> Iterator[None]:
    """Locks a workdir as long as the context lasts, unless this process has locked it already.

    Raises:
      ValueError: if another process holds the lock.
    """
    if workdir.resolve() in _locked_here:
        yield
        return
    with try_lock(workdir) as locked:
        if not locked:
            raise ValueError(
                f"{workdir} is locked by another process; wait for it or use another --workdir."
            )
        yield
