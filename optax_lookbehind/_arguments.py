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


def check_number_of_steps(name: str, value: Any) -> None:
    """Raises unless ``value`` is an integer >= 1; traced values pass unchecked."""
    if not isinstance(value, jax.core.Tracer):
        _positive_integer(name, value)


def check_scalar(name: str, value: Any, low: float, high: float, ends: str = "[]") -> None:
    """Raises unless ``value`` is a number in the interval from ``low`` to ``high``.

    ``ends`` says which ends belong to it: ``"(]"`` is open below, closed above; an infinite end
    never does. Schedules and traced values, which ``optax.inject_hyperparams`` and ``jax.vmap``
    put in, pass unchecked: their value is not known yet.
    """
    if callable(value) or isinstance(value, jax.core.Tracer):
        return
    number = _as_float(value)
    above = number > low or (ends[0] == "[" and number == low)
    below = number < high or (ends[1] == "]" and number == high)
    if not (above and below and math.isfinite(number)):
        raise ValueError(f"{name} must be {_describe(low, high, ends)}, got {value!r}.")


def check_flag(name: str, value: Any) -> None:
    """Raises unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}.")


def as_key(key: int | jax.Array) -> jax.Array:
    """A ``jax.random.key`` from a seed, or the key itself."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    return jax.random.key(key)


def _positive_integer(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
    return number


def _as_float(value: Any) -> float:
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    if getattr(value, "ndim", None) == 0:  # a NumPy or JAX scalar
        return float(value)
    return math.nan


def _describe(low: float, high: float, ends: str) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    if math.isinf(high):
        return f"a finite number {'>' if ends[0] == '(' else '>='} {low:g}"
    return f"a number in {ends[0]}{low:g}, {high:g}{ends[1]}"
