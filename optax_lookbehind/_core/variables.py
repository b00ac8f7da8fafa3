"""Gradients whose arrays are wrapped in variables, such as Flax NNX's ``Param``."""

from typing import Any

import jax

_VALUE = jax.tree_util.GetAttrKey("value")


def unwrap_like(reference: Any, tree: Any) -> Any:
    """``tree`` in the structure of ``reference`` if they differ only in variables around arrays.

    ``nnx.Optimizer.update`` unwraps weights and gradients, while ``nnx.grad`` in ``grad_fn``
    returns ``Param``. Any other difference is left as it is, for the check that follows.
    """
    if _differ_in_variables(reference, tree):
        return jax.tree.unflatten(jax.tree.structure(reference), jax.tree.leaves(tree))
    return tree


def check_variables(params: Any, name: str, tree: Any) -> None:
    """Raises if ``params`` and ``tree`` differ in variables around arrays, and only in them."""
    if _differ_in_variables(params, tree):
        raise ValueError(
            f"{name} and params must both have variables (such as nnx.Param) around their arrays, "
            f"or none: one of the two has. Unwrap that one, as in nnx.as_pure({name})."
        )


def _differ_in_variables(first: Any, second: Any) -> bool:
    paths, other_paths = _paths(first), _paths(second)
    return paths != other_paths and [*map(_inside, paths)] == [*map(_inside, other_paths)]


def _paths(tree: Any) -> list[tuple[Any, ...]]:
    return [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _inside(path: tuple[Any, ...]) -> tuple[Any, ...]:
    return path[:-1] if path and path[-1] == _VALUE else path
