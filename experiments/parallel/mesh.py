"""Mesh of the devices, and the shardings of state and batches.

There is one mesh over all devices of all processes, along which batches are split. A single device
is a mesh of one. Every process runs the same program.
"""

from typing import TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA = "data"  # the mesh's only axis

Tree = TypeVar("Tree")


def make_mesh(num_devices: int | None = None) -> Mesh:
    """A mesh of the first ``num_devices`` devices, by default of all."""
    devices = jax.devices()[:num_devices]
    return jax.make_mesh((len(devices),), (DATA,), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Sharding of an axis, by default the leading one, over all devices."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * axis, DATA))


def to_devices(tree: Tree, sharding: NamedSharding) -> Tree:
    """Puts arrays that are equal in all processes on the devices, typed keys included."""
    return jax.jit(lambda x: x, out_shardings=sharding)(tree)


def global_batch(batch: Tree, sharding: NamedSharding) -> Tree:
    """The global batch of which each process holds its own part."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def round_up(size: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is at least ``size``."""
    return -(-size // multiple) * multiple


def check_divisible(name: str, size: int, divisor: int, counted: str) -> None:
    """Raises ValueError unless ``divisor``, the number of ``counted``, divides ``size``."""
    if size % divisor:
        below, above = size // divisor * divisor, round_up(size, divisor)
        nearest = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"{name} must be a multiple of {divisor}, the number of {counted}, got {size}; "
            f"nearest multiples: {nearest}."
        )
