"""A check of a user's setup: do ``grad_fn``, the weights and the first gradient fit together?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optax_lookbehind._check_step import check_step
from optax_lookbehind._core.ascent import fast_params
from optax_lookbehind._core.checks import check_count, is_traced
from optax_lookbehind._core.devices import check_not_reduced, per_device_params
from optax_lookbehind._core.gradient_checks import check_gradient
from optax_lookbehind._core.tree import apply_updates, as_accumulator, dot, norm, scale
from optax_lookbehind._core.types import AxisName, GradFn, ValueAndGrads
from optax_lookbehind._multistep import multistep
from optax_lookbehind._perturbations import sam_perturbation

_SAM = optax.chain(multistep(sam_perturbation(0.05)), optax.sgd(1.0))


def check_grad_fn(
    grad_fn: GradFn,
    params: optax.Params,
    grads: optax.Updates,
    k: int = 1,
    *,
    axis_name: AxisName = None,
    tx: optax.GradientTransformation | None = None,
) -> list[str]:
    """Finds mistakes in a setup that would otherwise train without an error.

    Run it once, outside ``jax.jit``, with the arguments that the training step passes to
    ``tx.update``::

      for problem in check_grad_fn(grad_fn, params, grads, k=5, tx=tx):
          print(problem)

    A sharpness-aware method takes gradients at perturbed weights with ``grad_fn`` and combines them
    with ``grads``, which should be ``grad_fn(params, 0)``; :func:`value_and_grad` makes both from
    one loss function, so that most of these mistakes cannot happen. The check evaluates ``grad_fn``
    a few times and compares, to a relative tolerance of the square root of the gradients' machine
    epsilon. It finds

    * a structure, shapes or dtypes other than those of ``params``;
    * a different scale of ``grads`` and ``grad_fn``, such as loss scaling in one of them only, or a
      sum over devices in place of a mean;
    * another minibatch, other weights, another dropout key or mode in one of them;
    * randomness that differs between two calls;
    * a gradient that does not depend on the argument of ``grad_fn``, is zero or not finite;
    * an ``i`` beyond the stacked minibatches, which JAX clamps to the last one, if the last two of
      the ``k`` inner steps show it (from ``k=3``);
    * a ``grad_fn`` that runs eagerly but cannot be traced;
    * weights in a precision in which the perturbation rounds away;
    * given ``tx``, no optimizer behind the method, an optimizer in front of it, an optimizer behind
      a method that holds its own, and ``optax.MultiSteps`` around it;
    * given ``tx``, a perturbation so long that the loss rises by less than half or more than twice
      what the first-order model says (if ``grad_fn`` returns :class:`ValueAndGrads`), and an update
      more than four times as long as the way to the minimum along it, by the slopes at both ends:
      :math:`\\eta c l > 4` for SGD, with c of :func:`sharpness.response`.

    It stops at a problem that makes the later comparisons meaningless: run it again after fixing
    that one. Inside ``jax.jit`` or ``jax.shard_map`` values are unknown, and only structure,
    shapes, dtypes and the axes over which gradients differ are checked.

    Args:
      grad_fn: ``(params, i) -> grads``, as passed to ``tx.update``.
      params: the weights.
      grads: the gradient passed to ``tx.update`` as its first argument.
      k: number of inner steps of the method.
      axis_name: the method's ``axis_name``; give it inside ``jax.shard_map`` to find gradients that
        arrive already reduced.
      tx: the whole transformation, of which one step is run on ``grads``; without an ``axis_name``,
        which has a meaning inside ``jax.shard_map`` only. None checks the rounding of SAM's
        perturbation with ``rho=0.05``.

    Returns:
      A list of sentences, one for each problem; empty if nothing was found.

    Raises:
      ValueError: if ``k`` is not an integer >= 1. Errors of ``grad_fn`` itself are not caught.
    """
    k = check_count("k", k)
    all_params, params = params, fast_params(params)

    def at(p: optax.Params, i: Any = 0) -> tuple[Any, optax.Updates]:
        result = grad_fn(p, jnp.int32(i))
        return result if isinstance(result, ValueAndGrads) else (None, result)

    def gradient(p: optax.Params, i: Any) -> optax.Updates:
        return at(p, i)[1]

    if any(map(is_traced, jax.tree.leaves((params, grads)))):
        return _check_types(gradient, params, grads, axis_name)
    first = gradient(params, jnp.int32(0))
    problems = _messages(
        lambda: check_gradient(params, "grads", grads),
        lambda: check_gradient(params, "the result of grad_fn", first),
    )
    if problems:
        return problems
    problems = _check_finite("grads", grads) + _check_finite("grad_fn(params, 0)", first)
    if problems:
        return problems
    if not _equal(first, gradient(params, jnp.int32(0))):
        return [
            "grad_fn returns another gradient when it is called again with the same arguments: its "
            "randomness (dropout, augmentation, a data iterator) differs between calls. Draw the "
            "PRNG key and the minibatch once per training step, outside grad_fn, and let grad_fn "
            "close over them."
        ]
    return (
        _compare(grads, first)
        + _check_dependence(gradient, params, first)
        + _check_minibatches(gradient, params, first, k)
        + _check_traceable(gradient, params)
        + (check_step(tx, all_params, grads, at) if tx else check_step(_SAM, params, grads))
    )


def _messages(*checks: Callable[[], None]) -> list[str]:
    """The messages of the checks that raise."""
    messages = []
    for check in checks:
        try:
            check()
        except ValueError as error:
            messages.append(str(error))
    return messages


def _check_types(
    grad_fn: GradFn, params: optax.Params, grads: optax.Updates, axis_name: AxisName
) -> list[str]:
    """The checks that need no values."""
    first = grad_fn(per_device_params(params, axis_name), jnp.int32(0))
    problems = _messages(
        lambda: check_gradient(params, "grads", grads),
        lambda: check_gradient(params, "the result of grad_fn", first),
    )
    return problems or _messages(
        lambda: check_not_reduced("grads", grads, axis_name),
        lambda: check_not_reduced("the result of grad_fn", first, axis_name),
    )


def _check_finite(name: str, grads: optax.Updates) -> list[str]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        if not jnp.isfinite(leaf).all():
            return [f"{name} has NaNs or infinities at {jax.tree_util.keystr(path) or 'the root'}."]
    length = norm(grads)
    if not any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(grads)):
        return [
            f"{name} is zero everywhere: nothing is perturbed. Is the loss a function of params?"
        ]
    if length == 0 or not jnp.isfinite(length):
        return [
            f"{name} is too {'small' if length == 0 else 'large'}: the sum of its squares is "
            f"{'zero' if length == 0 else 'infinite'} in {length.dtype}, so that nothing is "
            "perturbed. Scale the loss."
        ]
    return []


def _equal(first: optax.Updates, second: optax.Updates) -> bool:
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(bool(jnp.all(a == b)) for a, b in pairs)


def _compare(grads: optax.Updates, first: optax.Updates) -> list[str]:
    """Compares the caller's gradient with ``grad_fn(params, 0)``: scale, then direction."""
    tolerance = max(float(jnp.finfo(jnp.result_type(x)).eps) for x in _leaves(grads, first)) ** 0.5
    grads, first = as_accumulator(grads), as_accumulator(first)
    if _distance(grads, first) <= tolerance:
        return []
    # grads = c grad_fn(params, 0) in the least squares.
    c = float(dot(grads, first) / dot(first, first))
    if _distance(grads, optax.tree.scale(c, first)) <= tolerance:
        devices = jax.device_count()
        summed = any(np.isclose(ratio, devices, rtol=tolerance) for ratio in (c, 1 / c))
        hint = (
            f"{devices} is the number of devices: one of the two is a sum over them, the other a "
            "mean"
            if summed and devices > 1
            else "loss scaling, averaging and sign must be the same in both"
        )
        return [f"grads is {c:.6g} times grad_fn(params, 0), but should be equal to it: {hint}."]
    apart = float(_distance(grads, first))
    differing = [
        jax.tree_util.keystr(path) or "the root"
        for (path, a), b in zip(
            jax.tree_util.tree_leaves_with_path(grads), jax.tree.leaves(first), strict=True
        )
        if _distance(a, b) > tolerance
    ]
    return [
        "grads and grad_fn(params, 0) should be the same gradient, but the norm of their "
        f"difference is {apart:.2g} times theirs; they differ at {', '.join(differing[:4])}"
        f"{' and more' if len(differing) > 4 else ''}. Is one of them taken on another minibatch, "
        "at other weights, with another dropout key, in another mode, or is it clipped or masked?"
    ]


def _distance(first: Any, second: Any) -> jax.Array:
    length = jnp.maximum(norm(first), norm(second))
    return norm(optax.tree.sub(first, second)) / jnp.where(length == 0, 1, length)


def _leaves(*trees: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(trees) if jnp.size(leaf)]


def _check_dependence(grad_fn: GradFn, params: optax.Params, first: optax.Updates) -> list[str]:
    """Finds a ``grad_fn`` that differentiates at weights other than its argument."""
    # Long enough to move weights of low precision, too.
    eps = max(float(jnp.finfo(jnp.result_type(w)).eps) for w in _leaves(params))
    length = jnp.maximum(0.1, 4 * eps * norm(params))
    moved = apply_updates(params, scale(length / norm(first), as_accumulator(first)))
    if not _equal(first, grad_fn(moved, jnp.int32(0))):
        return []
    return [
        "grad_fn returns the same gradient at other weights: it probably differentiates with "
        "respect to weights that it closes over, not to its argument params. (Only a linear loss "
        "has the same gradient everywhere.)"
    ]


def _check_minibatches(
    grad_fn: GradFn, params: optax.Params, first: optax.Updates, k: int
) -> list[str]:
    """Finds inner steps beyond the stacked minibatches: they repeat the last one."""
    if k < 3:
        return []
    before, last = (grad_fn(params, jnp.int32(i)) for i in (k - 2, k - 1))
    if not all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(last)):
        return [
            f"grad_fn(params, {k - 1}) is not finite although grad_fn(params, 0) is: does i = "
            f"{k - 1}, the last of k = {k} inner steps, have a minibatch?"
        ]
    if _equal(first, last) or not _equal(before, last):
        return []
    return [
        f"grad_fn returns the same gradient for i = {k - 2} and i = {k - 1}, but another one for "
        f"i = 0: are there fewer than k = {k} minibatches? JAX clamps an index beyond the end to "
        "the last element."
    ]


def _check_traceable(grad_fn: GradFn, params: optax.Params) -> list[str]:
    try:
        jax.eval_shape(grad_fn, params, jax.ShapeDtypeStruct((), jnp.int32))
    except Exception as error:
        summary = f"{type(error).__name__}: {error}".splitlines()[0]
        return [
            "grad_fn cannot be traced, which jax.jit and the loop over inner steps need: stack "
            "minibatches in one JAX array, and avoid Python branches on values and Python state. "
            f"{summary}"
        ]
    return []
