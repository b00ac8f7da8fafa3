"""The inner ascent loop that every method shares."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.cpu_convolutions import rewrite_cpu_convolutions
from optax_lookbehind._devices import (
    AxisName,
    check_not_reduced,
    check_same_axis,
    check_shared,
    mean_over,
    per_device,
)

GradFn = Callable[[optax.Params, jax.Array], optax.Updates]
Descend = Callable[[Any, optax.Updates, jax.Array], Any]
_Inner = tuple[optax.Params, optax.Updates, Any]  # p_i, g_i and the carry of ``descend``

_CALL = """\
{missing} is missing. A sharpness-aware step takes gradients at perturbed weights itself; call it as

    def grad_fn(params, i):  # i: inner step, to choose among minibatches; ignore it to stay on one
        return jax.grad(loss_fn)(params, batch)

    grads = grad_fn(params, 0)
    updates, state = tx.update(grads, state, params, grad_fn=grad_fn)"""


class Problem(NamedTuple):
    """What the inner loop works on.

    Attributes:
      params: the weights the ascent starts from.
      grads: the gradient at ``params`` that the first perturbation follows.
      grad_fn: ``(params, i) -> grads`` like ``grads``, for ascent and descent alike.
      descent: makes the gradient to descend along from one of ``grad_fn``: its mean over the
        devices, where that has not been taken already.
    """

    params: optax.Params
    grads: optax.Updates
    grad_fn: GradFn
    descent: Callable[[optax.Updates], optax.Updates]


def fast_params(params: optax.Params) -> optax.Params:
    """The weights at which gradients are taken: the fast ones of ``optax.lookahead``."""
    return params.fast if isinstance(params, optax.LookaheadParams) else params


def pose(
    updates: optax.Updates,
    params: optax.Params | None,
    grad_fn: GradFn | None,
    axis_name: AxisName,
    sync_perturbation: bool,
    extra_args: Mapping[str, Any] = MappingProxyType({}),
) -> Problem:
    """Checks what ``update`` was called with and arranges the averages over devices.

    With ``sync_perturbation`` every gradient is averaged as soon as it is taken; ascent and
    descent both see the mean. Without, the ascent follows the device's own gradient, at weights of
    its own, and only what is descended along is averaged.
    """
    if params is None or grad_fn is None:
        raise ValueError(_CALL.format(missing="params" if params is None else "grad_fn"))
    params = fast_params(params)
    check_like(params, "updates", updates)
    check_same_axis(axis_name, extra_args.get("policy_axis_name", axis_name))
    check_shared(updates, params, axis_name)
    check_not_reduced("updates", updates, axis_name)
    run_grad_fn = rewrite_cpu_convolutions(grad_fn)

    def local_grad_fn(at: optax.Params, i: jax.Array) -> optax.Updates:
        grads = run_grad_fn(per_device(at, axis_name), i)
        check_like(params, "the result of grad_fn", grads)
        check_not_reduced("the result of grad_fn", grads, axis_name)
        return optax.tree.cast_like(grads, updates)

    if not sync_perturbation:
        own = per_device(params, axis_name)
        return Problem(own, updates, local_grad_fn, lambda grads: mean_over(grads, axis_name))
    return Problem(
        params,
        mean_over(updates, axis_name),
        lambda at, i: mean_over(local_grad_fn(at, i), axis_name),
        lambda grads: grads,
    )


def ascend(
    perturbation: optax.GradientTransformation,
    perturbation_state: optax.OptState,
    problem: Problem,
    k: int,
    descend: Descend,
    carry: Any,
    switch_minibatch: bool = False,
) -> tuple[optax.Updates, Any, optax.OptState]:
    """Climbs ``k`` steps from ``problem.params`` and hands each gradient met to ``descend``.

    For i = 1..k: ``p_i = p_{i-1} + e(p_{i-1}, g_{i-1})``, ``g_i = grad_fn(p_i, i-1)``. The gradient
    at ``p_i`` serves step i's descent and step i+1's ascent, so a training step costs k+1
    gradients, the caller's included. With ``switch_minibatch`` the two are taken on different
    minibatches and nothing can be shared: 2k.

    Args:
      perturbation: the rule ``e``, fed with the same state in every inner step.
      perturbation_state: its state, which advances once, here, per training step.
      problem: weights, first gradient and gradient function.
      k: number of ascent steps, >= 1.
      descend: ``(carry, g_i, i - 1) -> carry``.
      carry: its first value.
      switch_minibatch: whether each inner step ascends on the minibatch it descends on.

    Returns:
      The last gradient ``g_k``, the last carry, and the perturbation's next state.
    """

    def step(at: optax.Params, grads: optax.Updates, carry: Any, i: jax.Array) -> _Inner:
        e, _ = perturbation.update(grads, perturbation_state, at)
        at = optax.apply_updates(at, e)
        grads = problem.grad_fn(at, i)
        return at, grads, descend(carry, grads, i)

    first = (problem.params, problem.grads, carry)
    inner_steps = jnp.arange(k, dtype=jnp.int32)
    if switch_minibatch:
        # The caller's gradient is the first ascent; the later ones are on minibatches of their own.
        first = step(*first, inner_steps[0])
        inner_steps = inner_steps[1:]

    def body(state: _Inner, i: jax.Array) -> tuple[_Inner, None]:
        at, grads, carry = state
        if switch_minibatch:
            grads = problem.grad_fn(at, i)
        return step(at, grads, carry, i), None

    (_, grads, carry), _ = jax.lax.scan(body, first, inner_steps)
    after = next_state(perturbation, perturbation_state, problem.grads, problem.params)
    return grads, carry, after


def next_state(
    perturbation: optax.GradientTransformation,
    state: optax.OptState,
    grads: optax.Updates,
    params: optax.Params,
) -> optax.OptState:
    """The perturbation's state, its counters and keys, one training step on."""
    # Under jit the compiler drops the perturbation itself.
    return perturbation.update(grads, state, params)[1]


def check_like(params: optax.Params, name: str, grads: optax.Updates) -> None:
    """Raises ValueError unless ``grads`` has the leaves and shapes of ``params``."""
    expected, given = _shapes(params), _shapes(grads)
    for path in expected | given:
        if expected.get(path) != given.get(path):
            raise ValueError(
                f"{name} must have the structure and shapes of params; at {path or 'the root'} "
                f"params have {_describe(expected, path)} and {name} has {_describe(given, path)}."
            )
    of_params, of_grads = map(str, map(jax.tree.structure, (params, grads)))
    if of_params != of_grads:
        raise ValueError(
            f"{name} must be built of the same containers as params, but params are {of_params} "
            f"and {name} is {of_grads}."
        )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}


def _describe(shapes: dict[str, tuple[int, ...]], path: str) -> str:
    return f"an array of shape {shapes[path]}" if path in shapes else "nothing"
