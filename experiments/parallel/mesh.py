"""The devices of a run: one mesh over all of them, of all processes, along which batches are split.

A single device is a mesh of one. Every process runs the same program.
"""

from typing import TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments.data import Examples

DATA = "data"  # the mesh's only axis

Tree = TypeVar("Tree")


def make_mesh(count: int | None = None) -> Mesh:
    """A mesh of the first ``count`` devices; unset, of all of them."""
    devices = jax.devices()[:count]
    return jax.make_mesh((len(devices),), (DATA,), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(mesh, PartitionSpec())


def divided(mesh: Mesh) -> NamedSharding:
    """Equal parts of the first axis on the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def place(tree: Tree, sharding: NamedSharding) -> Tree:
    """Puts arrays that are equal in all processes on the devices, typed keys included."""
    return jax.jit(lambda x: x, out_shardings=sharding)(tree)


def from_each_process(batch: Examples, mesh: Mesh) -> Examples:
    """The global batch of which each process holds its own part."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(divided(mesh), x), batch)


def rounded_up(size: int, parts: int) -> int:
    """The smallest multiple of ``parts`` that is at least ``size``."""
    return -(-size // parts) * parts


def check_divisible(name: str, size: int, parts: int, what: str) -> None:
    """Raises ValueError unless ``parts`` divides ``size``, with the nearest sizes that work."""
    if size % parts:
        below, above = size // parts * parts, rounded_up(size, parts)
        nearest = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"{name} must be a multiple of {parts}, the number of {what}, got {size}; "
            f"the nearest that work: {nearest}."
        )
