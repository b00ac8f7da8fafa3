"""A check of one step of a transformation: the place of the optimizer, and rounding."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.ascent import fast_params
from optax_lookbehind._core.checks import is_traced
from optax_lookbehind._core.tree import as_accumulator, dot, norm, sub
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

_OPPOSED = 0.1  # cosine; that of two directions without a relation is about 0


def check_step(
    tx: optax.GradientTransformation, params: optax.Params, grads: optax.Updates
) -> list[str]:
    """Finds an optimizer in the wrong place, and a perturbation that rounds away.

    Runs one step of ``tx`` in float32 or wider on the constant gradient ``grads``: no pass through
    the model.
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
    problems = []
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
    return problems


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
