"""Argument validation. Errors name the argument, its value and the valid range.

Traced scalars, which ``optax.inject_hyperparams`` and ``jax.vmap`` pass, are not checked: their
values are unknown while tracing.
"""

import math
import numbers
import operator
from typing import Any

import jax
import jax.numpy as jnp

_INT32_MAX = 2**31 - 1  # inner steps are counted in int32


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
    number = _positive_integer(name, value)
    if number > _INT32_MAX:
        raise ValueError(f"{name} must fit in an int32, at most {_INT32_MAX}, got {value!r}.")
    return number


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


def check_flag(name: str, value: Any) -> None:
    """Raises unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}.")


def check_devices(axis_name: Any, sync_perturbation: Any) -> None:
    """Raises unless ``sync_perturbation`` is a bool; without ``axis_name`` it must be True."""
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


def as_float(value: Any) -> float:
    """The value of a number or of a concrete NumPy or JAX scalar; NaN for anything else."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    if getattr(value, "ndim", None) == 0 and not is_traced(value):
        return float(value)
    return math.nan


def check_like(params: Any, name: str, grads: Any, params_name: str = "params") -> None:
    """Raises unless ``grads`` has the structure and shapes of ``params``."""
    expected, given = _shapes(params), _shapes(grads)
    for path in expected | given:
        if expected.get(path) != given.get(path):
            raise ValueError(
                f"{name} must have the structure and shapes of {params_name}; at "
                f"{path or 'the root'}, {params_name}: {_describe(expected, path)}, {name}: "
                f"{_describe(given, path)}."
            )
    # As strings: == on treedefs compares the static data of custom nodes, which may be arrays and
    # then has no truth value.
    params_treedef, grads_treedef = (str(jax.tree.structure(tree)) for tree in (params, grads))
    if params_treedef != grads_treedef:
        raise ValueError(
            f"{name} must have the same tree structure as {params_name}; {params_name}: "
            f"{params_treedef}, {name}: {grads_treedef}."
        )


def check_gradient(params: Any, name: str, grads: Any) -> None:
    """Raises unless ``grads`` has the structure, the shapes and a fitting dtype of ``params``."""
    if isinstance(grads, tuple) and not _same_tree(grads, params):
        for position, part in enumerate(grads):
            if _same_tree(part, params):
                raise ValueError(
                    f"{name} must be the gradient alone, but is a tuple of {len(grads)}, of which "
                    f"element {position} has the structure of params: drop the loss or the "
                    "auxiliary output, as in jax.value_and_grad(loss_fn, has_aux=True)(params)[1]."
                )
    check_like(params, name, grads)
    leaves = jax.tree_util.tree_leaves_with_path(grads)
    for (path, g), w in zip(leaves, jax.tree.leaves(params), strict=True):
        given, weight = _dtype(g), _dtype(w)
        real_weight = jnp.issubdtype(weight, jnp.floating)
        allowed = jnp.floating if real_weight else jnp.inexact
        trained = jnp.issubdtype(weight, jnp.inexact)
        if given == jax.dtypes.float0 or (trained and not jnp.issubdtype(given, allowed)):
            raise ValueError(
                f"{name} must be a {'real ' if real_weight else ''}floating-point gradient; at "
                f"{jax.tree_util.keystr(path) or 'the root'} it has dtype {_dtype_name(given)} for "
                f"params of dtype {weight}. Keep integers, counters and keys out of params."
            )


def _same_tree(first: Any, second: Any) -> bool:
    same_structure = str(jax.tree.structure(first)) == str(jax.tree.structure(second))
    return same_structure and _shapes(first) == _shapes(second)


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)


def _dtype_name(dtype: Any) -> str:
    return "float0" if dtype == jax.dtypes.float0 else str(dtype)


def _check(name: str, value: Any, schedule: bool, inside: Any, expected: str) -> None:
    if callable(value):
        if schedule:
            return
        raise ValueError(
            f"{name} cannot be a schedule itself; wrap the transformation in "
            f"optax.inject_hyperparams to schedule it. Got {value!r}."
        )
    if is_traced(value) and value.ndim == 0:
        return
    number = as_float(value)
    if not (math.isfinite(number) and inside(number)):
        raise ValueError(f"{name} must be {expected}, got {value!r}.")


def _positive_integer(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
    return number


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}


def _describe(shapes: dict[str, tuple[int, ...]], path: str) -> str:
    return f"an array of shape {shapes[path]}" if path in shapes else "nothing"
