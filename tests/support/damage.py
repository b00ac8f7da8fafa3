"""Kinds of damage to a file."""

import shutil


def truncate(path):
    """Cuts off the second half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    """Removes the content."""
    path.write_bytes(b"")


def flip(path):
    """Flips a bit in the middle."""
    content = bytearray(path.read_bytes() or b"\0")
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def replace_by_folder(path):
    """Puts a folder in its place."""
    path.unlink()
    path.mkdir()


def remove(path):
    """Removes the file."""
    path.unlink()


KINDS = {each.__name__: each for each in (truncate, empty, flip, replace_by_folder, remove)}


def files(folder):
    """All files below a folder, by their relative names."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path.relative_to(folder).as_posix() for path in paths]


def damaged_copy(folder, target, name, kind):
    """Copies a folder, with one file damaged."""
    shutil.copytree(folder, target)
    KINDS[kind](target / name)
    return target
