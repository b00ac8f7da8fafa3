"""Checks that a transformation follows the protocol between a policy and what it wraps."""

from typing import Any

import jax
import optax

_FOREIGN = """\
{wrapper} needs a sharpness-aware transformation as inner, which takes no gradients where it is \
called with sharpness_aware=False; the state of inner does not say that it is one: {state}. Wrap \
multistep, lookbehind or an alias such as sam(rho), or follow SharpnessAwareUpdateFn and give the \
state the property emits_gradient."""

_COMPLETE = """\
{wrapper} cannot wrap a method that holds the optimizer and emits the final update, as {state} of \
inner says, because {wrapper} emits a gradient. Wrap a method that emits a gradient \
(lookbehind_sam without fast_optimizer, wsam instead of wsam_decoupled; momentum_sam has no such \
form) and put the optimizer behind it: \
optax.chain(adaptive_policy(lookbehind_sam(k, rho, alpha), total_steps), optimizer)."""


def check_emits_gradient(wrapper: str, inner_state: optax.OptState) -> None:
    """Raises unless ``inner_state`` is that of a sharpness-aware method that emits a gradient.

    Args:
      wrapper: the name of what wraps it, for the message.
      inner_state: as ``inner.init`` returned it; see :class:`SharpnessAwareState`.
    """
    parts = jax.tree.leaves(inner_state, is_leaf=_is_sharpness_aware)
    methods = [part for part in parts if _is_sharpness_aware(part)]
    if not methods:
        raise ValueError(_FOREIGN.format(wrapper=wrapper, state=type(inner_state).__name__))
    for method in methods:
        if not method.emits_gradient:
            raise ValueError(_COMPLETE.format(wrapper=wrapper, state=type(method).__name__))


def refuse_gradients(params: optax.Params, i: jax.Array) -> optax.Updates:
    """The ``grad_fn`` of a policy's plain step: raises, because no gradient may be taken."""
    raise ValueError(
        "inner called grad_fn although it was called with sharpness_aware=False: on a policy's "
        "plain step it must emit the plain gradient. See SharpnessAwareUpdateFn."
    )


def _is_sharpness_aware(part: Any) -> bool:
    return hasattr(part, "emits_gradient")
