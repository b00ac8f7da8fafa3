"""Averages over a mapped axis, and checks that gradients are per-device.

Under ``jax.shard_map``, ``jax.pmap`` and ``jax.vmap`` with an axis name every device (or
microbatch) holds its own gradient. Weights are the same everywhere.
"""

import warnings
from typing import Any

import jax
import optax

from optax_lookbehind._core.types import AxisName, GradFn

_ALREADY_REDUCED = """\
{name} must be per-device gradients, but they are already summed over the axis {axis!r}: the mean \
over its N devices would leave that sum as it is, N times too large. Under jax.shard_map with \
check_vma=True, jax.grad at weights that all devices share returns the sum. Differentiate with \
respect to per-device copies of the weights:

    local = optax_lookbehind.per_device_params(params, {axis!r})
    grads = grad_fn(local, 0)
    updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

or let value_and_grad(loss_fn, axis_name={axis!r}) do so; or, under jax.shard_map with \
check_vma=True only, take the mean over the devices inside the loss (jax.lax.pmean) and pass no \
axis_name."""


_UNAVERAGED = """\
grad_fn runs on several devices at once ({axes}) and averages nothing over them: every device \
follows its own perturbed gradients, and the weights drift apart. \
Pass the name of the axis to the method, as in sam(rho, axis_name="batch"), and \
axis_name="batch" to jax.pmap; hand in each device's own gradient. If every device is to train a \
model of its own, ignore this warning."""


def per_device_params(params: optax.Params, axis_name: AxisName) -> optax.Params:
    """Copies of ``params`` at which ``jax.grad`` returns each device's own gradient.

    Under ``jax.shard_map`` with its default ``check_vma=True``, the gradient at weights that all
    devices share comes back summed over the devices. With an ``axis_name`` the transformations of
    this package average gradients themselves and raise an error for that sum. Change this::

      grads = grad_fn(params, 0)

    To::

      grads = grad_fn(per_device_params(params, "data"), 0)

    or use ``value_and_grad(loss_fn, axis_name="data")``, which does it. Pass the original
    ``params`` to ``tx.update``; it casts the perturbed weights by itself. The cast is
    ``jax.lax.pcast(w, axis_name, to="varying")``: it changes types and computes nothing.
    Under ``jax.pmap``, ``jax.vmap`` and ``check_vma=False``, where gradients are per-device anyway,
    ``params`` are returned unchanged.

    Args:
      params: the weights.
      axis_name: the mapped axis or axes; None returns ``params`` unchanged.

    Returns:
      ``params``, typed as varying over the axis.
    """
    # Only an axis of shard_map is tracked in types; one of vmap is not among the manual axes.
    names = (axis_name,) if isinstance(axis_name, str) else axis_name or ()
    manual = jax.sharding.get_abstract_mesh().manual_axes
    tracked = tuple(name for name in names if name in manual)

    def cast(x: jax.Array) -> jax.Array:
        axes = tuple(axis for axis in tracked if axis not in _varying_axes(x))
        return jax.lax.pcast(x, axes, to="varying") if axes else x

    return jax.tree.map(cast, params)


def mean_over(tree: Any, axis_name: AxisName) -> Any:
    """The mean of ``tree`` over the devices of the axis; ``tree`` itself without an axis."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def check_not_reduced(name: str, tree: Any, axis_name: AxisName) -> None:
    """Raises if a gradient that should be per-device is already reduced over the axis."""
    # A cast zero shows over which axes JAX tracks a per-device value: over none under pmap, vmap
    # and check_vma=False, where a sum cannot be told from a device's own gradient.
    expected = _varying_axes(per_device_params(jax.numpy.zeros(()), axis_name))
    if any(not expected <= _varying_axes(x) for x in jax.tree.leaves(tree)):
        raise ValueError(_ALREADY_REDUCED.format(name=name, axis=axis_name))


def warn_of_unaveraged_devices(grad_fn: GradFn, params: optax.Params) -> None:
    """Warns under ``jax.pmap`` if nothing averages the perturbed gradients over the devices.

    For methods without ``axis_name``. Under ``jax.shard_map`` with ``check_vma=True`` JAX itself
    raises an error, from the types; elsewhere only the program of ``grad_fn`` shows it.
    """
    axes = jax.sharding.get_abstract_mesh().manual_axes
    if not axes or _varying_axes(per_device_params(jax.numpy.zeros(()), axes)):
        return
    jaxpr = jax.make_jaxpr(grad_fn)(params, jax.numpy.int32(0))
    if not _has_collective(jaxpr.jaxpr, frozenset(axes)):
        named = [repr(axis) for axis in axes if not axis.startswith("_")]  # others are JAX's own
        where = f"axis {', '.join(named)}" if named else "jax.pmap without axis_name"
        warnings.warn(_UNAVERAGED.format(axes=where), stacklevel=2)


def _has_collective(jaxpr: Any, axes: frozenset[str]) -> bool:
    """Whether an equation of ``jaxpr``, or of one inside it, names one of the axes."""
    for eqn in jaxpr.eqns:
        for name, param in eqn.params.items():
            if name in ("axes", "axis_name") and axes & set(_as_tuple(param)):
                return True
            inner = [getattr(part, "jaxpr", part) for part in _as_tuple(param)]
            if any(_has_collective(part, axes) for part in inner if hasattr(part, "eqns")):
                return True
    return False


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _varying_axes(x: Any) -> frozenset[str]:
    """The mesh axes over which ``x`` varies according to its type."""
    aval = jax.typeof(x)
    if hasattr(aval, "vma"):  # the attribute's name before JAX 0.10
        return aval.vma
    return aval.manual_axis_type.varying
