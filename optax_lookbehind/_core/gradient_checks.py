"""Checks of gradients against the weights, while they are traced or run."""

from typing import Any

import jax
import jax.numpy as jnp

_VALUE = jax.tree_util.GetAttrKey("value")


def check_like(
    params: Any, name: str, grads: Any, params_name: str = "params", hint: str = ""
) -> None:
    """Raises unless ``grads`` has the structure and shapes of ``params``."""
    expected, given = _shapes(params), _shapes(grads)
    for path in expected | given:
        if expected.get(path) != given.get(path):
            raise ValueError(
                f"{name} must have the structure and shapes of {params_name}; at "
                f"{path or 'the root'}, {params_name}: {_describe(expected, path)}, {name}: "
                f"{_describe(given, path)}.{hint}"
            )
    # As strings: == on treedefs compares the static data of custom nodes, which may be arrays and
    # then has no truth value.
    params_treedef, grads_treedef = (str(jax.tree.structure(tree)) for tree in (params, grads))
    if params_treedef != grads_treedef:
        raise ValueError(
            f"{name} must have the same tree structure as {params_name}; {params_name}: "
            f"{params_treedef}, {name}: {grads_treedef}.{hint}"
        )


def check_gradient(params: Any, name: str, grads: Any) -> None:
    """Raises unless ``grads`` has the structure, the shapes and a fitting dtype of ``params``."""
    if _differ_in_variables(params, grads):
        raise ValueError(
            f"{name} and params must both have variables (such as nnx.Param) around their arrays, "
            f"or none: one of the two has. Unwrap that one, as in nnx.as_pure({name})."
        )
    hint = (
        " To return the loss, too, return optax_lookbehind.ValueAndGrads(value, grads) from "
        "grad_fn; drop auxiliary output."
    )
    check_like(params, name, grads, hint=hint if isinstance(grads, tuple) else "")
    leaves = jax.tree_util.tree_leaves_with_path(grads)
    for (path, g), w in zip(leaves, jax.tree.leaves(params), strict=True):
        given, weight = jnp.result_type(g), jnp.result_type(w)
        real_weight = jnp.issubdtype(weight, jnp.floating)
        allowed = jnp.floating if real_weight else jnp.inexact
        trained = jnp.issubdtype(weight, jnp.inexact)
        if given == jax.dtypes.float0 or (trained and not jnp.issubdtype(given, allowed)):
            raise ValueError(
                f"{name} must be a {'real ' if real_weight else ''}floating-point gradient; at "
                f"{jax.tree_util.keystr(path) or 'the root'} it has dtype {_dtype_name(given)} for "
                f"params of dtype {weight}. Keep integers, counters and keys out of params."
            )


def unwrap_like(reference: Any, tree: Any) -> Any:
    """``tree`` in the structure of ``reference`` if they differ only in variables around arrays.

    ``nnx.Optimizer.update`` unwraps weights and gradients, while ``nnx.grad`` in ``grad_fn``
    returns ``Param``. Any other difference is left as it is, for the check that follows.
    """
    if _differ_in_variables(reference, tree):
        return jax.tree.unflatten(jax.tree.structure(reference), jax.tree.leaves(tree))
    return tree


def _differ_in_variables(first: Any, second: Any) -> bool:
    paths, other_paths = _paths(first), _paths(second)
    return paths != other_paths and [*map(_inside, paths)] == [*map(_inside, other_paths)]


def _paths(tree: Any) -> list[tuple[Any, ...]]:
    return [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _inside(path: tuple[Any, ...]) -> tuple[Any, ...]:
    return path[:-1] if path and path[-1] == _VALUE else path


def _dtype_name(dtype: Any) -> str:
    return "float0" if dtype == jax.dtypes.float0 else str(dtype)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}


def _describe(shapes: dict[str, tuple[int, ...]], path: str) -> str:
    return f"an array of shape {shapes[path]}" if path in shapes else "nothing"
