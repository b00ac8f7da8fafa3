"""The checkpoints in a folder, and damage to them."""


def numbers(workdir):
    """The training steps before each checkpoint of a run, ascending."""
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def newest(workdir):
    """The folder of the newest checkpoint."""
    return workdir / "checkpoints" / str(numbers(workdir)[-1])


def empty_arrays(checkpoint):
    """Empties all files of the arrays."""
    for path in (checkpoint / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
