"""Checksums of the files of a checkpoint, and of the arrays and metrics in them.

Those of the files find damage before a library reads them. A disk, or a copy over a network, can
change a number in a checkpoint and leave it readable.
"""

import functools
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather

FILE = "checksums.json"
# Orbax writes these two after the others. Nothing in them is read.
_NOT_LISTED = (FILE, "_CHECKPOINT_METADATA", "commit_success.txt")
_CHUNK = 1 << 20


def write_files(checkpoint: Path) -> None:
    """Writes the CRC-32 of each file of a checkpoint into a further one."""
    names = [
        path.relative_to(checkpoint).as_posix()
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file()
    ]
    checksums = {name: _of_file(checkpoint / name) for name in names if name not in _NOT_LISTED}
    (checkpoint / FILE).write_text(json.dumps(checksums, indent=2) + "\n", encoding="utf-8")


def check_files(checkpoint: Path) -> None:
    """Raises ValueError, naming the file, unless all files are as they were written.

    Checkpoints of earlier versions have checksums of the arrays only.
    """
    path = checkpoint / FILE
    if not path.exists():
        return
    try:
        expected = json.loads(path.read_text(encoding="utf-8")).items()
    except (OSError, ValueError, AttributeError):
        raise ValueError(f"{FILE} is damaged") from None
    for name, checksum in expected:
        try:
            found = _of_file(checkpoint / name)
        except FileNotFoundError:
            raise ValueError(f"{name} is missing") from None
        except OSError as error:
            raise ValueError(f"{name} cannot be read: {error.strerror}") from None
        if found != checksum:
            raise ValueError(f"{name} is damaged")


def _of_file(path: Path) -> int:
    checksum = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def of_arrays(fields: Mapping[str, Any]) -> dict[str, int]:
    """CRC-32 of all arrays in each field. Waits for them."""
    return {name: _of_tree(tree) for name, tree in fields.items()}


def check_arrays(fields: Mapping[str, Any], expected: Mapping[str, int]) -> None:
    """Raises ValueError unless each field has the expected checksum."""
    for name, checksum in of_arrays(fields).items():
        if checksum != expected[name]:
            raise ValueError(f"the arrays of {name} are not those that were written")


def of_history(history: Any, steps: Any = None) -> int:
    """CRC-32 of the metrics of the epochs, and of the steps after them, as JSON."""
    return zlib.crc32(json.dumps([history, steps] if steps else history).encode())


def _of_tree(tree: Any) -> int:
    arrays = map(_to_numpy, jax.tree.leaves(tree))
    return functools.reduce(lambda crc, x: zlib.crc32(x.tobytes(), crc), arrays, 0)


def _to_numpy(x: jax.Array) -> np.ndarray:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
        x = process_allgather(x, tiled=True)  # array by array: no host holds all of them
    return np.asarray(x)
