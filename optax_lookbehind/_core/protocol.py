"""Checks that rules, methods and policies are nested correctly."""

from typing import Any

import jax
import optax

_FOREIGN = """\
{wrapper} needs a sharpness-aware transformation as inner, one that does not call grad_fn if it is \
called with sharpness_aware=False; the state of inner, {state}, has no property emits_gradient, by \
which such a transformation is recognized. Wrap multistep, lookbehind or an alias such as \
sam(rho), or follow SharpnessAwareUpdateFn and give the state that property."""

_COMPLETE = """\
{wrapper} emits a gradient, so inner must emit one too; the inner method with the state {state} \
holds the optimizer and emits the final update. Wrap a method that emits a gradient \
(lookbehind_sam without fast_optimizer, wsam instead of wsam_decoupled; momentum_sam has no such \
form) and put the optimizer behind it: \
optax.chain(adaptive_policy(lookbehind_sam(k, rho, alpha), total_steps), optimizer)."""


_METHOD_AS_RULE = """\
perturbation must be a rule from a gradient to a perturbation, such as sam_perturbation(rho); got \
a whole method with the state {state}, which takes gradients itself. Write \
lookbehind(sam_perturbation(rho), k, alpha), not lookbehind(sam(rho), k, alpha)."""

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


def init_perturbation(
    perturbation: optax.GradientTransformation, params: optax.Params
) -> optax.OptState:
    """The first state of a method's perturbation rule; raises if weights or rule are masked."""
    leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=_is_masked_node)
    for path, leaf in leaves:
        if _is_masked_node(leaf):
            place = jax.tree_util.keystr(path) or "the root"
            raise ValueError(_MASKED_PARAMS.format(path=place))
    return init_rule(perturbation, params)


def init_rule(perturbation: optax.GradientTransformation, params: optax.Params) -> optax.OptState:
    """The first state of a perturbation rule; raises if it is a whole method or a masked rule."""
    state = perturbation.init(params)
    if isinstance(state, optax.MaskedState):
        raise ValueError(_MASKED_RULE)
    for part in jax.tree.leaves(state, is_leaf=_is_sharpness_aware):
        if _is_sharpness_aware(part):
            raise ValueError(_METHOD_AS_RULE.format(state=type(part).__name__))
    return state


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


def reject_gradients(params: optax.Params, i: jax.Array) -> optax.Updates:
    """The ``grad_fn`` of a policy's plain step: raises, because no gradient may be taken."""
    raise ValueError(
        "inner called grad_fn although it was called with sharpness_aware=False: on a policy's "
        "plain step it must emit the plain gradient. See SharpnessAwareUpdateFn."
    )


def _is_masked_node(part: Any) -> bool:
    return isinstance(part, optax.MaskedNode)


def _is_sharpness_aware(part: Any) -> bool:
    return hasattr(part, "emits_gradient")
