"""Argument validation. Errors name the argument, its value and the valid range.

Traced scalars, which ``optax.inject_hyperparams`` and ``jax.vmap`` pass, are not checked: their
values are unknown while tracing.
"""

import math
import numbers
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_INT32_MAX = 2**31 - 1  # steps are counted in int32


def is_traced(value: Any) -> bool:
    """Whether ``value`` is known only at run time."""
    return isinstance(value, jax.core.Tracer)


def check_count(name: str, value: Any) -> int:
    """Returns ``value`` as an int; it must be an integer >= 1, known before tracing."""
    if isinstance(value, jax.Array):
        raise ValueError(
            f"{name} must be a Python int, because the structure of the program depends on it; got "
            f'{value!r}. Under optax.inject_hyperparams pass static_args=("{name}",).'
        )
    return _positive_integer(name, value)


def check_positive_integer(name: str, value: Any) -> None:
    """Raises unless ``value`` is an integer >= 1."""
    if not is_traced(value):
        _positive_integer(name, value)


def check_positive(name: str, value: Any, schedule: bool = False) -> None:
    """Raises unless ``value`` is a finite number > 0 (or, with ``schedule``, an Optax schedule)."""
    _check(name, value, schedule, lambda x: x > 0, "a finite number > 0")


def check_non_negative(name: str, value: Any, schedule: bool = False) -> None:
    """Raises unless ``value`` is a finite number >= 0 (or, with ``schedule``, a schedule)."""
    _check(name, value, schedule, lambda x: x >= 0, "a finite number >= 0")


def check_finite(name: str, value: Any, schedule: bool = False) -> None:
    """Raises unless ``value`` is a finite number (or, with ``schedule``, an Optax schedule)."""
    _check(name, value, schedule, lambda x: True, "a finite number")


def check_fraction(
    name: str, value: Any, *, zero: bool = True, one: bool = True, schedule: bool = False
) -> None:
    """Raises unless ``value`` is between 0 and 1; ``zero`` and ``one`` include the bounds."""
    interval = f"a number in {'[' if zero else '('}0, 1{']' if one else ')'}"
    inside = lambda x: (x >= 0 if zero else x > 0) and (x <= 1 if one else x < 1)  # noqa: E731
    _check(name, value, schedule, inside, interval)


def at_step(name: str, value: Any, step: Any, check: Callable[[str, Any], None]) -> Any:
    """A fixed or scheduled scalar at a training step.

    What a schedule returns is checked, too: its shape always, its value outside of ``jax.jit``.
    """
    if not callable(value):
        return value
    scheduled = value(step)
    if jnp.ndim(scheduled) != 0:
        raise ValueError(f"{name} must be a scalar, got a schedule of shape {scheduled.shape}.")
    try:
        check(name, scheduled)
    except ValueError as error:
        raise ValueError(f"{error} It is the value of a schedule at step {step}.") from None
    return scheduled


def check_flag(name: str, value: Any) -> None:
    """Raises unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}.")


def check_axis_name(axis_name: Any) -> None:
    """Raises unless ``axis_name`` is None, a string or a tuple of strings."""
    names = axis_name if isinstance(axis_name, tuple) else (axis_name,)
    if axis_name is not None and not (names and all(isinstance(name, str) for name in names)):
        raise ValueError(
            "axis_name must be the name of a mapped axis of jax.shard_map, jax.pmap or jax.vmap, a "
            f"string or a tuple of strings, or None; got {axis_name!r}."
        )


def check_devices(axis_name: Any, sync_perturbation: Any) -> None:
    """Raises unless ``sync_perturbation`` is a bool; without ``axis_name`` it must be True."""
    check_axis_name(axis_name)
    check_flag("sync_perturbation", sync_perturbation)
    if axis_name is None and not sync_perturbation:
        raise ValueError(
            "sync_perturbation=False perturbs each device on its own batch and so needs axis_name, "
            "the mapped axis of jax.shard_map, jax.pmap or jax.vmap; got axis_name=None."
        )


def check_transformation(name: str, value: Any, hint: str = "") -> None:
    """Raises unless ``value`` looks like an Optax transformation."""
    if not (hasattr(value, "init") and hasattr(value, "update")):
        raise ValueError(f"{name} must be an optax.GradientTransformation, got {value!r}.{hint}")


def check_state(state: Any, kind: type) -> None:
    """Raises unless ``state`` is of the type that the ``init`` of a method returns."""
    if not isinstance(state, kind):
        raise ValueError(
            f"state must be the {kind.__name__} that init or the last update returned, got "
            f"{type(state).__name__}: is it of another transformation, or of a part of a chain?"
        )


def check_mask(mask: Any, params: Any) -> None:
    """Raises unless ``mask`` is a pytree of bools like ``params``, or a prefix of it."""
    wrong = [leaf for leaf in jax.tree.leaves(mask) if not isinstance(leaf, (bool, np.bool_))]
    try:
        jax.tree.map(lambda selected, subtree: None, mask, params)
    except ValueError:
        wrong = [mask]
    if wrong:
        raise ValueError(
            "mask must be a pytree of bools with the structure of params or a prefix of it, or a "
            f"callable from params to one; got {wrong[0]!r}. (Under optax.inject_hyperparams a "
            'callable mask needs static_args=("mask",).)'
        )


def as_key(key: int | jax.Array) -> jax.Array:
    """A ``jax.random.key`` from a seed, or a clone of the key: the state may be donated."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return jax.random.clone(key)
    check_key(key)
    return jax.random.key(key)


def check_key(key: Any) -> None:
    """Raises unless ``key`` is an integer seed or a typed key."""
    dtype = getattr(key, "dtype", type(key))
    accepted = (int, jnp.integer, jax.dtypes.prng_key)
    if getattr(key, "ndim", 0) != 0 or not any(jnp.issubdtype(dtype, t) for t in accepted):
        raise ValueError(f"key must be an integer seed or a jax.random.key, got {key!r}.")
    # Beyond 32 bits jax.random.key folds seeds onto each other: 2**32 gives the key of 0.
    if dtype is int and not -(2**31) <= key < 2**32:
        raise ValueError(f"key must be a seed of 32 bits, in [-2**31, 2**32), got {key!r}.")


def as_float(value: Any) -> float:
    """The value of a real number or of a concrete NumPy or JAX scalar; NaN for anything else."""
    if hasattr(value, "dtype"):
        is_number = value.ndim == 0 and _is_real(value.dtype) and not is_traced(value)
    else:
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    try:
        return float(value) if is_number else math.nan
    except OverflowError:  # an integer beyond all floats
        return math.inf


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def _check(name: str, value: Any, schedule: bool, inside: Any, expected: str) -> None:
    if callable(value):
        if schedule:
            return
        raise ValueError(
            f"{name} cannot be a schedule itself; wrap the transformation in "
            f"optax.inject_hyperparams to schedule it. Got {value!r}."
        )
    if is_traced(value) and value.ndim == 0 and _is_real(value.dtype):
        return
    number = as_float(value)
    if not (math.isfinite(number) and inside(number)):
        raise ValueError(f"{name} must be {expected}, got {value!r}.")
    float_type = jax.dtypes.canonicalize_dtype(float)
    limits = jnp.finfo(float_type)
    if number and not float(limits.tiny) <= abs(number) <= float(limits.max):
        raise ValueError(
            f"{name} must be {expected} in {float_type}, where {value!r} is "
            f"{'zero' if abs(number) < 1 else 'infinite'}."
        )


def _positive_integer(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
    if number > _INT32_MAX:
        raise ValueError(f"{name} must fit in an int32, at most {_INT32_MAX}, got {value!r}.")
    return number
