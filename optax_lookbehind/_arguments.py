"""Checks of arguments: a bad one is named together with its value and what would be right."""

import math
import numbers
import operator
from typing import Any

import jax
import jax.numpy as jnp


def check_count(name: str, value: Any) -> int:
    """Returns ``value`` as an int; it must be an integer >= 1, known before tracing."""
    if isinstance(value, jax.Array):
        raise ValueError(
            f"{name} must be a Python int, because it decides the structure of the program; got "
            f'{value!r}. Under optax.inject_hyperparams pass static_args=("{name}",).'
        )
    return _positive_integer(name, value)


def check_positive_integer(name: str, value: Any) -> None:
    """Raises unless ``value`` is an integer >= 1; traced values pass unchecked."""
    if not isinstance(value, jax.core.Tracer):
        _positive_integer(name, value)


def check_scalar(
    name: str, value: Any, low: float, high: float, ends: str = "[]", schedule: bool = False
) -> None:
    """Raises unless ``value`` is a number in the interval from ``low`` to ``high``.

    ``ends`` says which ends belong to it: ``"(]"`` is open below, closed above; an infinite end
    never does. With ``schedule``, Optax schedules pass unchecked, as do traced scalars, which
    ``optax.inject_hyperparams`` and ``jax.vmap`` put in: their value is not known yet.
    """
    if callable(value) and not schedule:
        raise ValueError(
            f"{name} cannot be a schedule itself; wrap the transformation in "
            f"optax.inject_hyperparams to schedule it. Got {value!r}."
        )
    if callable(value) or (isinstance(value, jax.core.Tracer) and value.ndim == 0):
        return
    number = as_float(value)
    above = number > low or (ends[0] == "[" and number == low)
    below = number < high or (ends[1] == "]" and number == high)
    if not (above and below and math.isfinite(number)):
        raise ValueError(f"{name} must be {_describe(low, high, ends)}, got {value!r}.")


def check_devices(axis_name: Any, sync_perturbation: Any) -> None:
    """Raises for a ``sync_perturbation`` that is no bool, or False with nothing to sync over."""
    check_flag("sync_perturbation", sync_perturbation)
    if axis_name is None and not sync_perturbation:
        raise ValueError(
            "sync_perturbation=False perturbs each device on its own batch and so needs axis_name, "
            "the mapped axis of jax.shard_map, jax.pmap or jax.vmap; got axis_name=None."
        )


def check_flag(name: str, value: Any) -> None:
    """Raises unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}.")


def check_transformation(name: str, value: Any) -> None:
    """Raises unless ``value`` looks like an Optax transformation."""
    if not (hasattr(value, "init") and hasattr(value, "update")):
        raise ValueError(f"{name} must be an optax.GradientTransformation, got {value!r}.")


def as_key(key: int | jax.Array) -> jax.Array:
    """A ``jax.random.key`` from a seed, or a copy of the key: a step may donate the state's."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return jax.random.clone(key)
    check_key(key)
    return jax.random.key(key)


def check_key(key: Any) -> None:
    """Raises unless ``key`` is an integer seed or a typed key."""
    dtype = getattr(key, "dtype", type(key))
    kinds = (int, jnp.integer, jax.dtypes.prng_key)
    if getattr(key, "ndim", 0) != 0 or not any(jnp.issubdtype(dtype, kind) for kind in kinds):
        raise ValueError(f"key must be an integer seed or a jax.random.key, got {key!r}.")


def as_float(value: Any) -> float:
    """The value of a number or of a concrete NumPy or JAX scalar; NaN for anything else."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    if getattr(value, "ndim", None) == 0 and not isinstance(value, jax.core.Tracer):
        return float(value)
    return math.nan


def _positive_integer(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
    return number


def _describe(low: float, high: float, ends: str) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    if math.isinf(high):
        return f"a finite number {'>' if ends[0] == '(' else '>='} {low:g}"
    return f"a number in {ends[0]}{low:g}, {high:g}{ends[1]}"
