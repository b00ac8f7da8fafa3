"""Calls outside ``jax.jit``: Python loops and branches, so that nothing compiles anew each time.

``jax.lax.scan`` and ``jax.lax.cond`` compile their bodies, and a body that closes over this step's
``grad_fn`` is a new function in each call. With concrete values a Python loop runs the same
operations one by one, as ``optax.contrib.sam`` does, and JAX has those compiled after the first
step.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

from optax_lookbehind._core.checks import is_traced

_Result = TypeVar("_Result")


def is_eager(tree: Any) -> bool:
    """Whether all leaves have values, as outside ``jax.jit`` and other transformations."""
    return not any(map(is_traced, jax.tree.leaves(tree)))


def branch(
    predicate: jax.Array, when_true: Callable[[], _Result], when_false: Callable[[], _Result]
) -> _Result:
    """``jax.lax.cond``; a Python branch if ``predicate`` has a value."""
    if is_traced(predicate):
        return jax.lax.cond(predicate, when_true, when_false)
    return when_true() if predicate else when_false()
