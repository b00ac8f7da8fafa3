"""Averages over a mapped axis, and checks that gradients are per-device.

Under ``jax.shard_map``, ``jax.pmap`` and ``jax.vmap`` with an axis name every device (or
microbatch) holds its own gradient. Weights are the same everywhere.
"""

import warnings
from typing import Any

import jax
import optax

from optax_lookbehind._core.checks import check_axis_name
from optax_lookbehind._core.types import AveragedGradient, AxisName, GradFn

_ALREADY_REDUCED = """\
{name} must be per-device gradients, but they are already summed over the axis {axis!r}: the mean \
over its N devices would leave that sum as it is, N times too large. Under jax.shard_map with \
check_vma=True, jax.grad at weights that all devices share returns the sum. Differentiate with \
respect to per-device copies of the weights:

    local = optax_lookbehind.per_device_params(params, {axis!r})
    grads = grad_fn(local, 0)
    updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

or take the mean over the devices inside the loss (jax.lax.pmean) and pass no axis_name."""


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

    Pass the original ``params`` to ``tx.update``; it casts the perturbed weights by itself. The
    cast is ``jax.lax.pcast(w, axis_name, to="varying")``: it changes types and computes nothing.
    Under ``jax.pmap``, ``jax.vmap`` and ``check_vma=False``, where gradients are per-device anyway,
    ``params`` are returned unchanged.

    Args:
      params: the weights.
      axis_name: the mapped axis or axes; None returns ``params`` unchanged.

    Returns:
      ``params``, typed as varying over the axis.
    """
    check_axis_name(axis_name)
    tracked = _tracked_axes(axis_name)

    def cast(x: jax.Array) -> jax.Array:
        axes = tuple(axis for axis in tracked if axis not in _varying_axes(x))
        return jax.lax.pcast(x, axes, to="varying") if axes else x

    return jax.tree.map(cast, params)


def mean_over(tree: Any, axis_name: AxisName) -> Any:
    """The mean of ``tree`` over the devices of the axis; ``tree`` itself without an axis."""
    if axis_name is None:
        return tree
    try:
        return jax.lax.pmean(tree, axis_name)
    except NameError as error:
        raise ValueError(
            "axis_name must be an axis of a surrounding jax.shard_map, jax.pmap or jax.vmap, or "
            f"None where one program sees the whole batch; there is no axis {axis_name!r} here."
        ) from error


def average(
    updates: optax.Updates, axis_name: AxisName, averaged: AveragedGradient | None
) -> AveragedGradient:
    """Averages a per-device gradient over the axis, unless a policy has done so already.

    Args:
      updates: the device's own gradient.
      axis_name: the axis.
      averaged: what an enclosing policy handed over, if there is one. It is used only if
        ``updates`` are the very arrays that the policy averaged: between the two, another
        transformation (a clip, say) may have changed them.
    """
    if averaged is not None:
        _check_same_axis(axis_name, averaged.axis_name)
        if _same_arrays(updates, averaged.local):
            return averaged
    check_not_reduced("updates", updates, axis_name)
    return AveragedGradient(updates, mean_over(updates, axis_name), axis_name)


def check_not_reduced(name: str, tree: Any, axis_name: AxisName) -> None:
    """Raises if a gradient that should be per-device is already reduced over the axis."""
    probe = per_device_params(jax.numpy.zeros(()), axis_name)
    expected = _varying_axes(probe)  # empty wherever JAX does not track this
    if any(not expected <= _varying_axes(x) for x in jax.tree.leaves(tree)):
        raise ValueError(_ALREADY_REDUCED.format(name=name, axis=axis_name))


def check_shared(updates: Any, params: Any, axis_name: AxisName) -> None:
    """Raises if gradients differ between devices although there is no axis_name."""
    shared = frozenset().union(*map(_varying_axes, jax.tree.leaves(params)))
    differing = frozenset().union(*map(_varying_axes, jax.tree.leaves(updates))) - shared
    if axis_name is None and differing:
        raise ValueError(
            f"updates differ between the devices of the axes {sorted(differing)} and params do "
            "not: pass axis_name to the transformation, or the mean over the devices as updates "
            "and from grad_fn."
        )


def warn_of_unaveraged_devices(grad_fn: GradFn, params: optax.Params) -> None:
    """Warns under ``jax.pmap`` if nothing averages the perturbed gradients over the devices.

    For methods without ``axis_name``. Under ``jax.shard_map`` with ``check_vma=True`` the types
    show it, and :func:`check_shared` raises; elsewhere only the program of ``grad_fn`` shows it.
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


def _check_same_axis(own: AxisName, policy: AxisName) -> None:
    if own != policy:
        raise ValueError(
            "a policy and the transformation it wraps must have the same axis_name, because "
            "otherwise decisions or updates would differ between devices; got "
            f"{policy!r} for the policy and {own!r} for the transformation."
        )


def _same_arrays(first: Any, second: Any) -> bool:
    first, second = jax.tree.leaves(first), jax.tree.leaves(second)
    return len(first) == len(second) and all(a is b for a, b in zip(first, second, strict=True))


def _tracked_axes(axis_name: AxisName) -> tuple[str, ...]:
    """The given axes that are axes of a surrounding ``shard_map`` (not of a ``vmap``)."""
    names = (axis_name,) if isinstance(axis_name, str) else axis_name or ()
    manual = jax.sharding.get_abstract_mesh().manual_axes
    return tuple(name for name in names if name in manual)


def _varying_axes(x: Any) -> frozenset[str]:
    """The mesh axes over which ``x`` varies according to its type."""
    aval = jax.typeof(x)
    if hasattr(aval, "vma"):  # JAX before 0.10
        return aval.vma
    return aval.manual_axis_type.varying
