"""Checksums of arrays: what is read must be what was written.

A disk, or a copy over a network, can change a number in a checkpoint and leave it readable.
"""

import functools
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def checksums(parts: Mapping[str, Any]) -> dict[str, int]:
    """CRC-32 of all arrays in each part. Waits for them."""
    return {name: _checksum(part) for name, part in parts.items()}


def check(parts: Mapping[str, Any], expected: Mapping[str, int]) -> None:
    """Raises ValueError unless each part has the checksum that is expected of it."""
    for name, checksum in checksums(parts).items():
        if checksum != expected[name]:
            raise ValueError(f"the arrays of {name} are not those that were written")


def _checksum(tree: Any) -> int:
    arrays = map(_numbers, jax.tree.leaves(tree))
    return functools.reduce(lambda crc, x: zlib.crc32(x.tobytes(), crc), arrays, 0)


def _numbers(x: jax.Array) -> np.ndarray:
    is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)
