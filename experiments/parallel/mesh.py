"""Mesh of the devices, and the shardings of state and batches.

There is one mesh over all devices of all processes, along which batches are split. A single device
is a mesh of one. Every process runs the same program.
"""

from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA = "data"  # the mesh's only axis
LARGE = 1 << 30  # bytes of a dataset that is not copied to every device

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


def state_sharding(mesh: Mesh, shard_weights: bool, x: Any) -> NamedSharding:
    """Sharding of an array of the training state: replicated, or with FSDP divided.

    FSDP divides an array along its largest axis that the number of devices divides. Arrays without
    such an axis are replicated, and so are vectors (biases, statistics) and scalars.

    Args:
      mesh: the devices.
      shard_weights: whether to divide.
      x: the array, or its shape and type.
    """
    axes = [axis for axis, size in enumerate(x.shape) if size % mesh.size == 0]
    if not shard_weights or x.ndim < 2 or not axes:
        return replicated(mesh)
    return batch_sharding(mesh, max(axes, key=lambda axis: x.shape[axis]))


def to_devices(tree: Tree, sharding: Any) -> Tree:
    """Puts arrays that are equal in all processes on the devices, typed keys included.

    Args:
      tree: the arrays.
      sharding: one sharding for all of them, or a tree of shardings.
    """
    return jax.jit(lambda x: x, out_shardings=sharding)(tree)


def resident(tree: Tree, mesh: Mesh, large: int = LARGE) -> Tree:
    """Keeps a dataset on the devices: whole on each, or divided among them if it is large.

    Args:
      tree: NumPy arrays, equal in all processes, with examples along the leading axis.
      mesh: the devices.
      large: number of bytes above which the examples are divided; their number is then rounded up
        to a multiple of the devices, with zeros.
    """
    if mesh.size == 1 or sum(x.nbytes for x in jax.tree.leaves(tree)) <= large:
        return to_devices(tree, replicated(mesh))
    sharding = batch_sharding(mesh)

    def divide(x: np.ndarray) -> jax.Array:
        number = round_up(len(x), mesh.size)

        def part(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None  # it is for one device only
            examples = x[index]  # no padded copy of the whole
            missing = number // mesh.size - len(examples)
            return np.pad(examples, ((0, missing), *((0, 0),) * (x.ndim - 1)))

        return jax.make_array_from_callback((number, *x.shape[1:]), sharding, part)

    return jax.tree.map(divide, tree)


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
