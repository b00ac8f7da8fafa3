"""A check of one step of a transformation: the place of the optimizer, rounding, and lengths."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.ascent import fast_params
from optax_lookbehind._core.checks import is_traced
from optax_lookbehind._core.tree import apply_updates, as_accumulator, dot, norm, sub
from optax_lookbehind._lookbehind import LookbehindState
from optax_lookbehind._multistep import MultistepState
from optax_lookbehind._wsam_decoupled import WSAMDecoupledState

_DOWNHILL = """\
tx perturbs the weights downhill: an optimizer stands in front of the method and turns the sign of \
the gradient. Put it behind the method, as in optax.chain(sam(rho), optax.sgd(learning_rate))."""

_NO_OPTIMIZER = """\
The update of tx points uphill, along the gradient: a method such as sam(rho) emits a gradient, \
and no optimizer behind it turns it into a descent. Write \
optax.chain(sam(rho), optax.sgd(learning_rate))."""

_TWO_OPTIMIZERS = """\
The update of tx points uphill, along the gradient: lookbehind with fast_optimizer emits the final \
update, and an optimizer behind it turns its sign once more. Chain nothing behind it, or leave \
fast_optimizer out."""

_MULTI_STEPS = """\
optax.MultiSteps around a sharpness-aware method takes the perturbed gradient of the last \
microbatch only. Average over the microbatches inside the loss or grad_fn, or put \
optax.MultiSteps around the optimizer behind the method."""

_ROUNDED_AWAY = """\
params are in {dtype}, in which most of a perturbation of length {length:.2g} rounds away, so that \
the perturbed gradient is nearly the plain one at another price. Keep the weights in float32 and \
cast them inside the loss."""

_NOT_FIRST_ORDER = """\
At the perturbed weights, at distance {length:.2g}, the loss is {rise:.2g} higher; the first-order \
model that the perturbation maximizes says {predicted:.2g}. Beyond a factor of 2 the perturbation \
is longer than the model holds: try a smaller rho (sharpness.propose_rho), or warm up first if the \
weights are the initial ones."""

_OVERSHOT = """\
One update of tx goes {times:.2g} times as far as the minimum along its direction, if the loss is \
a quadratic there; training rarely survives a start above about 4. Divide the learning rate (that \
of lookbehind by alpha * k, since its steps are as many times longer), or warm it up."""

_LIMIT = 4.0  # a rule of thumb: docs/laws.md
_OPPOSED = 0.1  # cosine; that of two directions without a relation is about 0


def check_step(
    tx: optax.GradientTransformation,
    params: optax.Params,
    grads: optax.Updates,
    at: Callable[[optax.Params], tuple[Any, optax.Updates]] | None = None,
) -> list[str]:
    """Finds an optimizer in the wrong place, and a perturbation or a step of the wrong length.

    Runs one step of ``tx`` in float32 or wider on the constant gradient ``grads``.

    Args:
      tx: the whole transformation.
      params: the weights.
      grads: the gradient there.
      at: loss (None if unknown) and gradient at other weights, for the lengths; None skips them.
    """
    wide, wide_grads = as_accumulator(params), as_accumulator(grads)
    perturbed: list[Any] = []

    def grad_fn(p: optax.Params, i: jax.Array) -> optax.Updates:
        perturbed.append(p)
        return wide_grads

    state = tx.init(wide)
    if any(_has_method(found.inner_opt_state) for found in _found(state, optax.MultiStepsState)):
        return [_MULTI_STEPS]
    extended = optax.with_extra_args_support(tx)
    updates, _ = extended.update(wide_grads, state, wide, grad_fn=grad_fn)
    updates = fast_params(updates)
    problems, e = [], None
    # A policy's plain step has no perturbation; inside a lax.cond of a wrapper it has no value.
    if perturbed and not any(map(is_traced, jax.tree.leaves(perturbed[0]))):
        e = sub(perturbed[0], fast_params(wide))
        if _cosine(e, wide_grads) < -_OPPOSED:
            return [_DOWNHILL]
        problems += _check_rounding(fast_params(params), e)
    if _cosine(updates, wide_grads) > _OPPOSED:
        states = _found(state, LookbehindState)
        two = any(found.fast_state is not None for found in states)
        problems.append(_TWO_OPTIMIZERS if two else _NO_OPTIMIZER)
    if at is not None and not problems:
        start = fast_params(params)
        problems += _check_first_order(at, start, wide_grads, e) if e is not None else []
        problems += _check_overshoot(at, start, wide_grads, updates)
    return problems


def _check_first_order(at: Any, params: optax.Params, grads: optax.Updates, e: Any) -> list[str]:
    """Compares the rise of the loss with ``<g, e>``."""
    (before, _), (after, _) = at(params), at(apply_updates(params, e))
    predicted = float(dot(grads, e))
    if before is None or predicted <= 0:  # other rules ascend along other directions
        return []
    rise = float(as_accumulator(after) - as_accumulator(before))
    if predicted / 2 <= rise <= 2 * predicted:
        return []
    return [_NOT_FIRST_ORDER.format(length=float(norm(e)), rise=rise, predicted=predicted)]


def _check_overshoot(at: Any, params: optax.Params, grads: optax.Updates, u: Any) -> list[str]:
    """Compares the slopes along the update before and behind it.

    For a quadratic of curvature l along the gradient and SGD's update ``u = - eta c g`` their ratio
    is ``1 - eta c l``.
    """
    slope = float(dot(grads, u))
    if slope >= 0:
        return []
    times = 1 - float(dot(at(apply_updates(params, u))[1], u)) / slope
    return [_OVERSHOT.format(times=times)] if times > _LIMIT else []


def _check_rounding(params: optax.Params, e: optax.Updates) -> list[str]:
    """Compares ``e`` with what is left of it in weights of less than 32 bits."""
    pairs = [
        (w, d)
        for w, d in zip(jax.tree.leaves(params), jax.tree.leaves(e), strict=True)
        if jnp.finfo(jnp.result_type(w)).bits < 32
    ]
    lost = [as_accumulator(w) + d - as_accumulator((w + d).astype(w.dtype)) for w, d in pairs]
    if not pairs or norm(lost) <= 0.5 * norm([d for _, d in pairs]):
        return []
    return [_ROUNDED_AWAY.format(dtype=pairs[0][0].dtype, length=float(norm(e)))]


def _cosine(first: Any, second: Any) -> float:
    lengths = float(norm(first) * norm(second))
    return float(dot(first, second)) / lengths if lengths else 0.0


def _has_method(state: Any) -> bool:
    return bool(_found(state, (MultistepState, LookbehindState, WSAMDecoupledState)))


def _found(state: Any, kind: Any) -> list[Any]:
    """The parts of a state that are of a type."""
    parts = jax.tree.leaves(state, is_leaf=lambda part: isinstance(part, kind))
    return [part for part in parts if isinstance(part, kind)]
