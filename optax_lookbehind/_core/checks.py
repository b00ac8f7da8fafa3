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

_NO_BASELINE = (
    " For a baseline without a perturbation write optax.with_extra_args_support(optimizer), which "
    "ignores grad_fn."
)


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
    check_positive_integer(name, value)
    return operator.index(value)


def check_positive_integer(name: str, value: Any) -> None:
    """Raises unless ``value`` is an integer >= 1, of Python, NumPy or JAX."""
    if is_traced(value):
        return
    try:
        valid = not isinstance(value, bool) and operator.index(value) >= 1
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")


def check_positive(name: str, value: Any, schedule: bool = False) -> None:
    """Raises unless ``value`` is a finite number > 0 (or, with ``schedule``, an Optax schedule)."""
    hint = _NO_BASELINE if name == "rho" and as_float(value) == 0 else ""
    _check(name, value, schedule, lambda x: x > 0, "a finite number > 0", hint)


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


def check_type(name: str, value: Any, kind: type, example: str) -> None:
    """Raises unless ``value`` is None or of the given type."""
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, such as {example}; got {value!r}.")


def check_devices(axis_name: Any, sync_perturbation: bool) -> None:
    """Raises if ``sync_perturbation`` is False without an ``axis_name``."""
    if axis_name is None and not sync_perturbation:
        raise ValueError(
            "sync_perturbation=False perturbs each device on its own batch and so needs axis_name, "
            "the mapped axis of jax.shard_map, jax.pmap or jax.vmap; got axis_name=None."
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


def check_key(key: Any) -> None:
    """Raises unless ``key`` is an integer seed or a typed key."""
    dtype = getattr(key, "dtype", type(key))
    accepted = (int, jnp.integer, jax.dtypes.prng_key)
    if getattr(key, "ndim", 0) != 0 or not any(jnp.issubdtype(dtype, t) for t in accepted):
        raise ValueError(f"key must be an integer seed or a jax.random.key, got {key!r}.")


def as_float(value: Any) -> float:
    """The value of a real number or of a concrete NumPy or JAX scalar; NaN for anything else."""
    if hasattr(value, "dtype"):
        is_number = value.ndim == 0 and _is_real(value.dtype) and not is_traced(value)
    else:
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return float(value) if is_number else math.nan


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def _check(
    name: str, value: Any, schedule: bool, inside: Any, expected: str, hint: str = ""
) -> None:
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
        raise ValueError(f"{name} must be {expected}, got {value!r}.{hint}")
