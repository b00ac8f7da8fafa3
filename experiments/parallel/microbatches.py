"""m-SAM: an independent perturbation per device or per microbatch.

m-sharpness (Foret et al., 2021, section 4.1): the ascent follows the gradient of a part of the
batch, from weights that all parts share; the descent follows the mean over all of them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
from jax.sharding import Mesh, PartitionSpec
from ml_collections import ConfigDict

from experiments.parallel.mesh import DATA, check_divisible

_MICRO = "micro"  # the axis of the microbatches

Tree = TypeVar("Tree")
Update = Callable[[Any, Any], Any]


class Parts(NamedTuple):
    """The independently perturbed parts of a batch; by default it is a single one.

    Attributes:
      microbatches: number of parts.
      devices: the mesh if every device perturbs on its own part of the batch, else None.
    """

    microbatches: int = 1
    devices: Mesh | None = None

    @property
    def axis_name(self) -> str | None:
        """The mapped axis over the parts; None for a single part."""
        if self.devices is not None:
            return DATA
        return _MICRO if self.microbatches > 1 else None

    def map(self, update: Update, example_axis: int = 0) -> Update:
        """Maps ``update(state, batch)`` over the parts of the batch; they share its result.

        Args:
          update: called with the state and one part of the batch.
          example_axis: axis of the batch that is split.
        """
        if self.devices is not None:
            shared, split = PartitionSpec(), PartitionSpec(*(None,) * example_axis, DATA)
            return jax.shard_map(
                update, mesh=self.devices, in_specs=(shared, split), out_specs=shared
            )
        if self.microbatches == 1:
            return update

        def split_microbatches(x: jax.Array) -> jax.Array:
            # [..., batch, ...] -> [..., microbatch, example, ...]
            before, after = x.shape[:example_axis], x.shape[example_axis + 1 :]
            return x.reshape(*before, self.microbatches, -1, *after)

        # out_axes=None: raises if a result differs between the microbatches.
        mapped = jax.vmap(update, in_axes=(None, example_axis), out_axes=None, axis_name=_MICRO)
        return lambda state, batch: mapped(state, jax.tree.map(split_microbatches, batch))

    def mean(self, tree: Tree) -> Tree:
        """The mean over all parts, inside the mapped function."""
        return jax.lax.pmean(tree, self.axis_name) if self.axis_name else tree


def read_parts(config: ConfigDict, mesh: Mesh) -> Parts:
    """The parts that a config asks for.

    Raises:
      ValueError: if it asks for microbatches in addition to a part per device, or for a part per
        device, which needs whole weights on every device, together with FSDP.
    """
    if not config.per_device_perturbation:
        return Parts(config.microbatches)
    if config.microbatches > 1:
        raise ValueError(
            "microbatches must be 1 with per_device_perturbation=True, which divides the batch "
            f"itself, got {config.microbatches}."
        )
    if config.shard_weights:
        raise ValueError(
            "shard_weights must be False with per_device_perturbation=True, which needs all "
            "weights on every device, got True; use microbatches."
        )
    return Parts(devices=mesh)


def check_batch_size(batch_size: int, num_microbatches: int, num_devices: int) -> None:
    """Raises ValueError unless microbatches and devices divide the batch."""
    check_divisible("batch_size", batch_size, num_devices, "devices")
    check_divisible("batch_size", batch_size, num_microbatches, "microbatches")
