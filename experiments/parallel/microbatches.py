"""Perturbing each part of a batch on its own: per device, or in microbatches on any devices.

m-sharpness (Foret et al., 2021, section 4.1): the ascent follows the gradient of a part of the
batch, from weights that all parts share; the descent follows the mean over all of them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.sharding import Mesh, PartitionSpec
from ml_collections import ConfigDict

from experiments.parallel.mesh import DATA, check_divisible

MICRO = "micro"  # the axis of the microbatches

Tree = TypeVar("Tree")
Update = Callable[[Any, Any], Any]


def axis(config: ConfigDict) -> str | None:
    """The mapped axis over which the config has parts of a batch; None where it has one part."""
    if config.per_device_perturbation:
        return DATA
    return MICRO if config.microbatches > 1 else None


def check_parts(config: ConfigDict, mesh: Mesh) -> None:
    """Raises ValueError unless the batch can be divided as the config and the devices ask."""
    if config.microbatches < 1:
        raise ValueError(f"microbatches must be >= 1, got {config.microbatches}.")
    if config.microbatches > 1 and config.per_device_perturbation:
        raise ValueError("microbatches and per_device_perturbation exclude each other.")
    check_divisible("batch_size", config.batch_size, mesh.size, "devices")
    check_divisible("batch_size", config.batch_size, config.microbatches, "microbatches")


def averaging(config: ConfigDict) -> dict[str, Any]:
    """What a sharpness-aware transformation is told about the parts; nothing without any."""
    over = axis(config)
    return {"axis_name": over, "sync_perturbation": False} if over else {}


def mean_over(over: str | None, tree: Tree) -> Tree:
    """The mean over all parts."""
    return jax.lax.pmean(tree, over) if over else tree


def own_copy(over: str | None, params: Tree) -> Tree:
    """Weights at which a device's gradient is its own, not yet the sum over the devices."""
    if over != DATA:
        return params
    return jax.tree.map(lambda w: jax.lax.pcast(w, DATA, to="varying"), params)


def on_each_part(config: ConfigDict, mesh: Mesh, update: Update) -> Update:
    """``update(state, batch)`` on every part of the batch, with a result that they share."""
    if config.microbatches > 1:
        return _on_microbatches(update, config.microbatches)
    if config.per_device_perturbation:
        everywhere, in_parts = PartitionSpec(), PartitionSpec(DATA)
        return jax.shard_map(
            update, mesh=mesh, in_specs=(everywhere, in_parts), out_specs=everywhere
        )
    return update


def _on_microbatches(update: Update, count: int) -> Update:
    def spread(state: Any, batch: Any) -> Any:
        split = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
        # out_axes=None: refuses what differs between the microbatches.
        return jax.vmap(update, in_axes=(None, 0), out_axes=None, axis_name=MICRO)(state, split)

    return spread
