"""The ascent that all methods share: the gradients of a training step, and the ascent step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import is_traced
from optax_lookbehind._core.cpu_convolutions import call_in_loop
from optax_lookbehind._core.devices import (
    check_not_reduced,
    mean_over,
    per_device_params,
    warn_of_unaveraged_devices,
)
from optax_lookbehind._core.gradient_checks import check_gradient, unwrap_like
from optax_lookbehind._core.tree import apply_updates, as_accumulator
from optax_lookbehind._core.types import AxisName, GradFn, ValueAndGrads

_CALL = """\
{missing} is missing. A sharpness-aware step takes gradients at perturbed weights itself; call it as

    loss, grads, grad_fn = value_and_grad(loss_fn)(params, batch)
    updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

or write grad_fn(params, i) yourself; i is the inner step, to choose among minibatches.

Some wrappers do not pass grad_fn on: TrainState.apply_gradients of Flax (override it: the guide \
to frameworks has the lines), optax.lookahead and optax.MultiSteps (put them behind the method). \
nnx.Optimizer.update(model, grads, grad_fn=grad_fn) does. No method such as sam(rho) is a \
perturbation: multistep and lookbehind take a rule such as sam_perturbation(rho)."""

_MASKED_RULE = """\
perturbation must not be optax.masked around a rule: where the mask is False, that returns the raw \
gradient, which would be added to the weights. Write masked_perturbation(rule, mask)."""

_MASKED_PARAMS = """\
params must be all weights that grad_fn differentiates, but at {path} they are an \
optax.MaskedNode: optax.masked, optax.partition or optax.selective_transform around a \
sharpness-aware method hides weights from grad_fn. To perturb only some of the weights, write \
multistep(masked_perturbation(sam_perturbation(rho), mask)); to freeze the others, too, put \
optax.selective_transform(optimizer, freeze_mask=frozen) behind it, or pass only the trainable \
weights as params; to give groups of weights their own optimizers, put optax.partition behind the \
method."""


# Inner steps in one turn of the loop: True for all. Private, for benchmarks; 1 keeps compile time
# and memory independent of k.
unroll: int | bool = 1


class Gradients(NamedTuple):
    """The gradients of a training step, with the averages over devices bound to them.

    Attributes:
      p_0: the weights that the ascent starts from.
      g_0: the gradient at ``p_0`` that the first perturbation follows.
      shared: ``g_0`` averaged over the devices.
      at: ``(p_i, i - 1) -> (loss, g_i)``, for the descent of inner step i and for the next ascent;
        the loss is None if ``grad_fn`` returns the gradient alone.
      mean: averages losses, and gradients to descend along, over the devices, unless ``at`` has
        done so already.
      eager: whether all values are known, as outside ``jax.jit``. Loops and branches then run in
        Python, since ``jax.lax.scan`` and ``jax.lax.cond`` would compile anew in each call.
    """

    p_0: optax.Params
    g_0: optax.Updates
    shared: optax.Updates
    at: Callable[[optax.Params, jax.Array], tuple[jax.Array | None, optax.Updates]]
    mean: Callable[[Any], Any]
    eager: bool


def fast_params(params: optax.Params) -> optax.Params:
    """The weights at which gradients are taken: ``params.fast`` of ``optax.LookaheadParams``."""
    return params.fast if isinstance(params, optax.LookaheadParams) else params


def gradients_of(
    updates: optax.Updates,
    params: optax.Params | None,
    grad_fn: GradFn | None,
    axis_name: AxisName,
    sync_perturbation: bool,
) -> Gradients:
    """Checks the arguments of ``update`` and binds ``grad_fn`` to the averages over devices.

    With ``sync_perturbation`` every gradient is averaged as soon as it is taken; ascent and
    descent both follow the mean. Without, the ascent follows the device's own gradient, at weights
    of its own, and only the descent gradient is averaged.
    """
    if params is None or grad_fn is None:
        raise ValueError(_CALL.format(missing="params" if params is None else "grad_fn"))
    params = fast_params(params)
    check_gradient(params, "updates", updates)
    check_not_reduced("updates", updates, axis_name)
    if axis_name is None:
        warn_of_unaveraged_devices(grad_fn, params)
    # A policy decides, and states advance, by this gradient: the same on all devices.
    shared = mean_over(updates, axis_name)
    eager = not any(map(is_traced, jax.tree.leaves((updates, params))))

    def at(p: optax.Params, i: jax.Array) -> tuple[jax.Array | None, optax.Updates]:
        p = per_device_params(p, axis_name)  # under shard_map, the gradient would arrive summed
        result = grad_fn(p, i) if eager else call_in_loop(grad_fn, p, i)
        value, grads = result if isinstance(result, ValueAndGrads) else (None, result)
        grads = unwrap_like(updates, grads)
        check_gradient(params, "the result of grad_fn", grads)
        check_not_reduced("the result of grad_fn", grads, axis_name)
        result = as_accumulator(value), optax.tree.cast_like(grads, updates)
        return mean_over(result, axis_name) if sync_perturbation else result

    if sync_perturbation:
        return Gradients(params, shared, shared, at, lambda tree: tree, eager)
    mean = lambda tree: mean_over(tree, axis_name)  # noqa: E731
    return Gradients(per_device_params(params, axis_name), updates, shared, at, mean, eager)


def ascent_step(
    perturbation: optax.GradientTransformation,
    state: optax.OptState,
    p: optax.Params,
    g: optax.Updates,
) -> optax.Params:
    """``p_i = p_{i-1} + e(p_{i-1}, g_{i-1})``.

    On one minibatch ``g_i`` serves the descent of inner step i and the ascent of inner step i + 1,
    so that k inner steps cost k + 1 gradients, the caller's included.

    Args:
      perturbation: the rule e.
      state: its state at the start of the training step.
      p: the weights p_{i-1}.
      g: the gradient g_{i-1} there.
    """
    # The new state is dropped: schedules and keys advance once per training step, not per inner
    # step, by `advance_state`.
    e, _ = perturbation.update(g, state, p)
    return apply_updates(p, e)


def advance_state(
    perturbation: optax.GradientTransformation,
    state: optax.OptState,
    shared: optax.Updates,
    params: optax.Params,
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


def next_losses(values: list[Any], before: jax.Array) -> jax.Array:
    """The losses of all inner steps, in the dtype of those before; those before if none is given.

    Args:
      values: scalars of single inner steps and vectors of several, in order; or Nones.
      before: ``perturbed_losses`` of the state.
    """
    if values[0] is None:
        return before
    losses = jnp.concatenate([jnp.ravel(value).astype(before.dtype) for value in values])
    if losses.shape != before.shape:
        raise ValueError(
            "value in ValueAndGrads(value, grads) must be a scalar, the loss; got shape "
            f"{jnp.shape(values[0])}."
        )
    return losses


def init_perturbation(
    perturbation: optax.GradientTransformation, params: optax.Params
) -> optax.OptState:
    """The first state of a method's perturbation rule; raises if weights or rule are masked."""
    is_masked = lambda part: isinstance(part, optax.MaskedNode)  # noqa: E731
    for path, leaf in jax.tree_util.tree_leaves_with_path(params, is_leaf=is_masked):
        if is_masked(leaf):
            place = jax.tree_util.keystr(path) or "the root"
            raise ValueError(_MASKED_PARAMS.format(path=place))
    return init_rule(perturbation, params)


def init_rule(perturbation: optax.GradientTransformation, params: optax.Params) -> optax.OptState:
    """The first state of a perturbation rule; raises if the rule is masked."""
    state = perturbation.init(params)
    if isinstance(state, optax.MaskedState):
        raise ValueError(_MASKED_RULE)
    return state
