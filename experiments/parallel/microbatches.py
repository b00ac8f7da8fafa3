"""m-SAM: an independent perturbation per device or per microbatch.

m-sharpness (Foret et al., 2021, section 4.1): the ascent follows the gradient of a part of the
batch, from weights that all parts share; the descent follows the mean over all of them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.sharding import Mesh, PartitionSpec

from experiments.parallel.mesh import DATA, check_divisible

MICRO = "micro"  # the axis of the microbatches

Tree = TypeVar("Tree")
Update = Callable[[Any, Any], Any]


def axis_name(num_microbatches: int, per_device: bool) -> str | None:
    """The mapped axis of the independently perturbed parts of a batch; None for one part."""
    if per_device:
        return DATA
    return MICRO if num_microbatches > 1 else None


def axis_kwargs(num_microbatches: int, per_device: bool) -> dict[str, Any]:
    """``axis_name`` and ``sync_perturbation`` for the library; empty for one part."""
    axis = axis_name(num_microbatches, per_device)
    return {"axis_name": axis, "sync_perturbation": False} if axis else {}


def check_parts(num_microbatches: int, per_device: bool, shard_weights: bool = False) -> None:
    """Raises ValueError unless the batch has microbatches >= 1, or one part per device.

    A part per device needs whole weights on every device.
    """
    if num_microbatches < 1:
        raise ValueError(f"microbatches must be >= 1, got {num_microbatches}.")
    if num_microbatches > 1 and per_device:
        raise ValueError(
            "microbatches must be 1 with per_device_perturbation=True, which divides the batch "
            f"itself, got {num_microbatches}."
        )
    if shard_weights and per_device:
        raise ValueError(
            "shard_weights must be False with per_device_perturbation=True, which needs all "
            "weights on every device, got True; use microbatches."
        )


def check_batch_size(batch_size: int, num_microbatches: int, num_devices: int) -> None:
    """Raises ValueError unless microbatches and devices divide the batch."""
    check_divisible("batch_size", batch_size, num_devices, "devices")
    check_divisible("batch_size", batch_size, num_microbatches, "microbatches")


def mean_over(axis: str | None, tree: Tree) -> Tree:
    """The mean over all parts."""
    return jax.lax.pmean(tree, axis) if axis else tree


def map_over_parts(
    update: Update,
    mesh: Mesh,
    num_microbatches: int = 1,
    per_device: bool = False,
    example_axis: int = 0,
) -> Update:
    """Maps ``update(state, batch)`` over the parts of a batch; the parts share its result.

    Args:
      update: called with the state and one part of the batch.
      mesh: devices over which to map with ``per_device``.
      num_microbatches: number of parts over which to map otherwise.
      per_device: whether the parts are those of the devices.
      example_axis: axis of the batch that is split.
    """
    if num_microbatches > 1:
        return _map_over_microbatches(update, num_microbatches, example_axis)
    if per_device:
        shared, split = PartitionSpec(), PartitionSpec(*(None,) * example_axis, DATA)
        return jax.shard_map(update, mesh=mesh, in_specs=(shared, split), out_specs=shared)
    return update


def _map_over_microbatches(update: Update, num_microbatches: int, axis: int) -> Update:
    def split(x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:axis], num_microbatches, -1, *x.shape[axis + 1 :])

    # out_axes=None: raises if a result differs between the microbatches.
    mapped = jax.vmap(update, in_axes=(None, axis), out_axes=None, axis_name=MICRO)
    return lambda state, batch: mapped(state, jax.tree.map(split, batch))
