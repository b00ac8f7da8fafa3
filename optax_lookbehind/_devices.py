"""What one device knows and what all of them share: averages over a mapped axis.

Under ``jax.shard_map``, ``jax.pmap`` and ``jax.vmap`` with an axis name every device (or
microbatch) holds its own gradient. Weights are the same everywhere.
"""

from typing import Any

import jax

AxisName = str | tuple[str, ...] | None

_ALREADY_REDUCED = """\
{name} arrives already reduced over the axis {axis!r}, so an average over the devices would leave \
it as it is: a sum over all devices, as many times too large. Under jax.shard_map with \
check_vma=True, jax.grad at weights that all devices share returns that sum. Take it at weights \
cast to per-device ones instead:

    local = jax.tree.map(lambda w: jax.lax.pcast(w, {axis!r}, to="varying"), params)
    grads = grad_fn(local, 0)
    updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

or take the mean over the devices inside the loss (jax.lax.pmean) and pass no axis_name."""


def mean_over(tree: Any, axis_name: AxisName) -> Any:
    """The mean of ``tree`` over the devices of the axis; ``tree`` itself without an axis."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def per_device(tree: Any, axis_name: AxisName) -> Any:
    """``tree`` typed as varying over the axis, so that ``jax.grad`` keeps each device's own part.

    Only ``jax.shard_map`` with ``check_vma=True`` types values so; elsewhere nothing changes.
    """
    tracked = _tracked_axes(axis_name)

    def cast(x: jax.Array) -> jax.Array:
        axes = tuple(axis for axis in tracked if axis not in _varying_axes(x))
        return jax.lax.pcast(x, axes, to="varying") if axes else x

    return jax.tree.map(cast, tree)


def check_not_reduced(name: str, tree: Any, axis_name: AxisName) -> None:
    """Raises ValueError where a gradient that should be a device's own is shared by all."""
    probe = per_device(jax.numpy.zeros(()), axis_name)
    expected = _varying_axes(probe)  # empty wherever JAX does not track this
    if any(not expected <= _varying_axes(x) for x in jax.tree.leaves(tree)):
        raise ValueError(_ALREADY_REDUCED.format(name=name, axis=axis_name))


def check_same_axis(own: AxisName, of_policy: AxisName) -> None:
    """Raises ValueError where a policy averages over other devices than what it wraps."""
    if own != of_policy:
        raise ValueError(
            "a policy and the transformation it wraps must be given the same axis_name, or devices "
            f"would decide or step differently; got {of_policy!r} for the policy and {own!r} for "
            "the transformation."
        )


def check_shared(updates: Any, params: Any, axis_name: AxisName) -> None:
    """Raises ValueError where gradients differ between devices and no axis_name says so."""
    shared = frozenset().union(*map(_varying_axes, jax.tree.leaves(params)))
    differing = frozenset().union(*map(_varying_axes, jax.tree.leaves(updates))) - shared
    if axis_name is None and differing:
        raise ValueError(
            f"updates differ between the devices of the axes {sorted(differing)} and params do "
            "not: pass axis_name to the transformation, or the mean over the devices as updates "
            "and from grad_fn."
        )


def _tracked_axes(axis_name: AxisName) -> tuple[str, ...]:
    """The given axes that are axes of a surrounding ``shard_map`` (not of a ``vmap``)."""
    names = (axis_name,) if isinstance(axis_name, str) else axis_name or ()
    manual = jax.sharding.get_abstract_mesh().manual_axes
    return tuple(name for name in names if name in manual)


def _varying_axes(x: Any) -> frozenset[str]:
    """The mesh axes over which the type of ``x`` says that it varies."""
    aval = jax.typeof(x)
    if hasattr(aval, "vma"):  # JAX before 0.10
        return aval.vma
    return aval.manual_axis_type.varying
