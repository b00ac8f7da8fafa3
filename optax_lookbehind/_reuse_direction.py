"""Reuse of the sharp direction on a policy's plain steps (LookSAM)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.ascent import fast_params
from optax_lookbehind._core.axes import average
from optax_lookbehind._core.checks import (
    at_step,
    check_axis_name,
    check_non_negative,
    check_state,
    check_transformation,
)
from optax_lookbehind._core.protocol import check_emits_gradient
from optax_lookbehind._core.tree import (
    as_accumulator,
    divide,
    dot,
    norm,
    scalar_dtype,
    squared_norm,
    standard_promotion,
)
from optax_lookbehind._core.types import AveragedGradient, AxisName


class ReuseDirectionState(NamedTuple):
    """State of :func:`reuse_direction`.

    Attributes:
      step: number of training steps taken, int32, for a scheduled alpha.
      sharp_direction: LookSAM's ``v``, the component of the last sharpness-aware gradient that is
        orthogonal to the plain gradient, like the weights; zeros before the first.
      inner_state: state of the wrapped transformation.
    """

    step: jax.Array
    sharp_direction: optax.Updates
    inner_state: optax.OptState

    @property
    def emits_gradient(self) -> bool:
        """Always true."""
        return True


def reuse_direction(
    inner: optax.GradientTransformation,
    alpha: optax.ScalarOrSchedule,
    *,
    axis_name: AxisName = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adds the direction of the last sharpness-aware gradient to a policy's plain steps (LookSAM).

    On the steps where the policy applies ``inner``, which returns :math:`u`, emit u and keep

    .. math:: v = u - \frac{\langle u, g \rangle}{\lVert g \rVert^2} \, g

    On plain steps emit

    .. math:: g + \alpha \, \frac{\lVert g \rVert}{\lVert v \rVert} \, v

    or g as long as there is no v. Where u is parallel to g, up to rounding, v is zero; a v that is
    not finite is not kept, but the one before. Change this::

      tx = optax.chain(periodic_policy(sam(rho=0.05), period=5), optax.sgd(0.1))

    To::

      inner = reuse_direction(sam(rho=0.05), alpha=0.5)
      tx = optax.chain(periodic_policy(inner, period=5), optax.sgd(0.1))

    It goes between the policy and what the policy applies. Outside a policy every step is
    sharpness-aware and it changes nothing. No gradient is added; the state holds one copy of the
    weights.

    Args:
      inner: any sharpness-aware transformation that emits a gradient, with the same ``axis_name``.
        Where its plain step is not g itself (``lookbehind``: :math:`k \alpha_t g`), that takes the
        place of g in what is emitted.
      alpha: length of the added component relative to the gradient, >= 0; or an Optax schedule,
        which counts training steps.
      axis_name: the mapped axis over which gradients are averaged.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`.

    Raises:
      ValueError: if ``alpha`` is not a finite number >= 0; in ``init`` if ``inner`` is not
        sharpness-aware or emits a final update.

    References:
      Liu et al., `Towards Efficient and Scalable Sharpness-Aware Minimization
      <https://arxiv.org/abs/2203.02714>`_, CVPR 2022, Algorithm 1.
    """
    check_transformation("inner", inner)
    check_non_negative("alpha", alpha, schedule=True)
    check_axis_name(axis_name)
    inner = optax.with_extra_args_support(inner)

    def init_fn(params: optax.Params) -> ReuseDirectionState:
        inner_state = inner.init(params)
        check_emits_gradient("reuse_direction", inner_state)
        return ReuseDirectionState(
            step=jnp.zeros([], jnp.int32),
            sharp_direction=optax.tree.zeros_like(fast_params(params)),
            inner_state=inner_state,
        )

    def update_fn(
        updates: optax.Updates,
        state: ReuseDirectionState,
        params: optax.Params | None = None,
        *,
        sharpness_aware: bool = True,
        averaged: AveragedGradient | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, ReuseDirectionState]:
        check_state(state, ReuseDirectionState)
        if sharpness_aware:
            averaged = average(updates, axis_name, averaged)
            g = averaged.mean
        extra_args |= {"sharpness_aware": sharpness_aware, "averaged": averaged}
        u, inner_state = inner.update(updates, state.inner_state, params, **extra_args)
        v = state.sharp_direction
        if sharpness_aware:
            v = optax.tree.cast_like(_next_direction(u, g, v), v)
        else:
            alpha_t = at_step("alpha", alpha, state.step, check_non_negative)
            u = optax.tree.cast_like(_add_direction(u, v, alpha_t), updates)
        return u, ReuseDirectionState(optax.safe_increment(state.step), v, inner_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


@standard_promotion
def _next_direction(u: optax.Updates, g: optax.Updates, kept: optax.Updates) -> optax.Updates:
    """``u - (<u, g> / |g|^2) g``; zero if that is rounding noise, ``kept`` if it is not finite."""
    projection = divide(dot(u, g), squared_norm(g))
    v = optax.tree.add_scale(as_accumulator(u), -projection, as_accumulator(g))
    length = norm(v)
    # Where u is parallel to g, v is the rounding error of both, and would be added at full length.
    is_noise = length <= _rounding(u) * norm(u)
    v = optax.tree.where(is_noise, optax.tree.zeros_like(v), v)
    return optax.tree.where(jnp.isfinite(length), v, as_accumulator(kept))


def _rounding(u: optax.Updates) -> float:
    """Relative size of the rounding errors in ``v``: of the gradients, and of the two sums."""
    precisions = [float(jnp.finfo(x.dtype).eps) for x in jax.tree.leaves(u)]
    return max(*precisions, 16 * float(jnp.finfo(scalar_dtype(u)).eps))


@standard_promotion
def _add_direction(g: optax.Updates, v: optax.Updates, alpha: Any) -> optax.Updates:
    """``g + alpha (|g| / |v|) v``; ``g`` if ``v`` is zero."""
    scale = alpha * divide(norm(g), norm(v))
    return optax.tree.add_scale(as_accumulator(g), scale, as_accumulator(v))
