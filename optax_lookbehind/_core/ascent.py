"""The ascent that all methods share: the bound gradient function, the loop and its step."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import optax

from optax_lookbehind._core.axes import (
    average,
    check_not_reduced,
    check_shared,
    mean_over,
    per_device_params,
    warn_of_unaveraged_devices,
)
from optax_lookbehind._core.cpu_convolutions import rewrite_cpu_convolutions
from optax_lookbehind._core.eager import is_eager
from optax_lookbehind._core.gradient_checks import check_arrays, check_call, check_gradient
from optax_lookbehind._core.tree import apply_updates
from optax_lookbehind._core.types import AveragedGradient, AxisName, GradFn
from optax_lookbehind._core.variables import check_variables, unwrap_like

_Carry = TypeVar("_Carry")

_CALL = """\
{missing} is missing. A sharpness-aware step takes gradients at perturbed weights itself; call it as

    def grad_fn(params, i):  # i: inner step, to choose among minibatches; ignore it to stay on one
        return jax.grad(loss_fn)(params, batch)

    grads = grad_fn(params, 0)
    updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

Some wrappers do not pass grad_fn on: TrainState.apply_gradients of Flax (override it: the guide \
to frameworks has the lines), optax.lookahead and optax.MultiSteps (put them behind the method). \
nnx.Optimizer.update(model, grads, grad_fn=grad_fn) does."""


class BoundGradient(NamedTuple):
    """``grad_fn`` and the first gradient, checked, with the averages over devices bound to them.

    Attributes:
      p_0: the weights that the ascent starts from.
      g_0: the gradient at ``p_0`` that the first perturbation follows.
      shared: ``g_0`` averaged over the devices.
      perturbed: ``(p_i, i - 1) -> g_i``, for the descent of inner step i and for the next ascent.
      mean: the gradient to descend along: averages a ``g_i`` over the devices, unless
        ``perturbed`` has done so already.
    """

    p_0: optax.Params
    g_0: optax.Updates
    shared: optax.Updates
    perturbed: GradFn
    mean: Callable[[optax.Updates], optax.Updates]


def fast_params(params: optax.Params) -> optax.Params:
    """The weights at which gradients are taken: ``params.fast`` of ``optax.LookaheadParams``."""
    return params.fast if isinstance(params, optax.LookaheadParams) else params


def bind_gradient(
    updates: optax.Updates,
    params: optax.Params | None,
    grad_fn: GradFn | None,
    *,
    axis_name: AxisName,
    sync_perturbation: bool,
    averaged: AveragedGradient | None = None,
) -> BoundGradient:
    """Checks the arguments of ``update`` and binds ``grad_fn`` to the averages over devices.

    With ``sync_perturbation`` every gradient is averaged as soon as it is taken; ascent and
    descent both follow the mean. Without, the ascent follows the device's own gradient, at weights
    of its own, and only the descent gradient is averaged.
    """
    if params is None or grad_fn is None:
        raise ValueError(_CALL.format(missing="params" if params is None else "grad_fn"))
    params = fast_params(params)
    check_call(grad_fn, params)
    check_variables(params, "updates", updates)
    check_arrays("updates", updates)
    check_gradient(params, "updates", updates)
    check_shared(updates, params, axis_name)
    shared = average(updates, axis_name, averaged).mean
    if axis_name is None:
        warn_of_unaveraged_devices(grad_fn, params)

    def checked_grad_fn(p: optax.Params, i: jax.Array) -> optax.Updates:
        grads = grad_fn(p, i)
        check_arrays("the result of grad_fn", grads)
        return grads

    # Outside jit convolutions are fast as they are, and the rewrite would compile anew each time.
    eager = is_eager((updates, params))
    run_grad_fn = checked_grad_fn if eager else rewrite_cpu_convolutions(checked_grad_fn)

    def local(p: optax.Params, i: jax.Array) -> optax.Updates:
        grads = unwrap_like(updates, run_grad_fn(per_device_params(p, axis_name), i))
        check_gradient(params, "the result of grad_fn", grads)
        check_not_reduced("the result of grad_fn", grads, axis_name)
        return optax.tree.cast_like(grads, updates)

    def over_devices(grads: optax.Updates) -> optax.Updates:
        return mean_over(grads, axis_name)

    if sync_perturbation:
        synced = lambda p, i: over_devices(local(p, i))  # noqa: E731
        return BoundGradient(params, shared, shared, synced, lambda grads: grads)
    return BoundGradient(per_device_params(params, axis_name), updates, shared, local, over_devices)


def run_inner_steps(
    inner_step: Callable[[_Carry, jax.Array], _Carry], carry: _Carry, steps: jax.Array
) -> _Carry:
    """The last carry of ``inner_step: (carry, i) -> carry`` over ``i`` in ``steps``.

    ``jax.lax.scan`` under jit; outside of it a Python loop, which does not compile anew in each
    call (see ``eager.py``).
    """
    if is_eager(carry):
        for i in steps:
            carry = inner_step(carry, i)
        return carry
    return jax.lax.scan(lambda carry, i: (inner_step(carry, i), None), carry, steps)[0]


def ascent_step(
    perturbation: optax.GradientTransformation,
    state: optax.OptState,
    gradient: BoundGradient,
    p: optax.Params,
    g: optax.Updates,
    i: jax.Array,
) -> tuple[optax.Params, optax.Updates]:
    """``p_i = p_{i-1} + e(p_{i-1}, g_{i-1})`` and ``g_i = grad_fn(p_i, i - 1)``.

    On one minibatch ``g_i`` serves the descent of inner step i and the ascent of inner step i + 1,
    so that k inner steps cost k + 1 gradients, the caller's included.

    Args:
      perturbation: the rule e.
      state: its state at the start of the training step.
      gradient: the bound gradient function.
      p: the weights p_{i-1}.
      g: the gradient g_{i-1} there.
      i: the inner step, counted from 0: i - 1.

    Returns:
      ``p_i`` and ``g_i``.
    """
    # The new state is dropped: schedules and keys advance once per training step, not per inner
    # step, by `advance_state`.
    e, _ = perturbation.update(g, state, p)
    p = apply_updates(p, e)
    return p, gradient.perturbed(p, i)


def advance_state(
    perturbation: optax.GradientTransformation,
    state: optax.OptState,
    shared: optax.Updates,
    params: optax.Params | None,
) -> optax.OptState:
    """Advances the perturbation's state (counters, keys, averages) by one training step.

    Args:
      perturbation: the rule.
      state: its state.
      shared: the plain gradient, averaged over the devices: the state must be the same on all.
      params: the weights.
    """
    # Only the state is needed; XLA removes the unused perturbation as dead code.
    return perturbation.update(shared, state, fast_params(params))[1]
