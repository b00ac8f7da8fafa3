"""Checks of gradients and gradient functions, while they are traced or run."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp


def check_call(grad_fn: Any, params: Any) -> None:
    """Raises unless ``grad_fn`` can be called as ``grad_fn(params, i)``."""
    if not callable(grad_fn):
        raise ValueError(f"grad_fn must be a function (params, i) -> grads, got {grad_fn!r}.")
    try:
        inspect.signature(grad_fn).bind(params, 0)
    except TypeError as error:
        raise ValueError(
            f"grad_fn must take two arguments, (params, i) -> grads: {error}."
        ) from error
    except ValueError:  # a callable without a signature
        pass


def check_arrays(name: str, tree: Any) -> None:
    """Raises unless all leaves are arrays or numbers."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not (hasattr(leaf, "dtype") or isinstance(leaf, (bool, int, float, complex))):
            raise ValueError(
                f"{name} must be a pytree of arrays like params; at "
                f"{jax.tree_util.keystr(path) or 'the root'} it is {leaf!r}."
            )


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
        if not _promotes(given):
            raise ValueError(
                f"{name} must have leaves that JAX promotes to float32; at "
                f"{jax.tree_util.keystr(path) or 'the root'} it has dtype {given}. Keep weights of "
                "fewer than 16 bits in a wider type."
            )


def _promotes(dtype: Any) -> bool:
    try:
        with jax.numpy_dtype_promotion("standard"):
            jnp.promote_types(dtype, jnp.float32)
    except jax.dtypes.TypePromotionError:
        return False
    return True


def _same_tree(first: Any, second: Any) -> bool:
    same_structure = str(jax.tree.structure(first)) == str(jax.tree.structure(second))
    return same_structure and _shapes(first) == _shapes(second)


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)


def _dtype_name(dtype: Any) -> str:
    return "float0" if dtype == jax.dtypes.float0 else str(dtype)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}


def _describe(shapes: dict[str, tuple[int, ...]], path: str) -> str:
    return f"an array of shape {shapes[path]}" if path in shapes else "nothing"
