"""Reuse of the sharp direction on a policy's plain steps (LookSAM)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._combinations import Combination
from optax_lookbehind._core.checks import at_step, check_non_negative
from optax_lookbehind._core.tree import (
    as_accumulator,
    divide,
    dot,
    norm,
    scalar_dtype,
    squared_norm,
    standard_promotion,
)


class ReuseDirectionState(NamedTuple):
    """State of :func:`reuse_direction`.

    Attributes:
      step: number of training steps taken, int32, for a scheduled alpha.
      sharp_direction: LookSAM's ``v``, the component of the last sharpness-aware gradient that is
        orthogonal to the plain gradient, like the weights; zeros before the first.
    """

    step: jax.Array
    sharp_direction: optax.Updates


def reuse_direction(alpha: optax.ScalarOrSchedule) -> Combination:
    r"""Adds the direction of the last sharpness-aware gradient to a policy's plain steps (LookSAM).

    On the sharpness-aware steps, emit the perturbed gradient :math:`g_s` and keep

    .. math:: v = g_s - \frac{\langle g_s, g \rangle}{\lVert g \rVert^2} \, g

    On plain steps emit

    .. math:: g + \alpha \, \frac{\lVert g \rVert}{\lVert v \rVert} \, v

    or g as long as there is no v. Where :math:`g_s` is parallel to g, up to rounding, v is zero; a
    v that is not finite is not kept, but the one before. Change this::

      multistep(sam_perturbation(rho=0.05), policy=periodic_policy(5))

    To::

      multistep(sam_perturbation(rho=0.05), combine=reuse_direction(0.5), policy=periodic_policy(5))

    Without a policy every step is sharpness-aware and it changes nothing. No gradient is added; the
    state holds one copy of the weights.

    Args:
      alpha: length of the added component relative to the gradient, >= 0; or an Optax schedule,
        which counts training steps.

    Returns:
      A :class:`Combination`.

    Raises:
      ValueError: if ``alpha`` is not a finite number >= 0.

    References:
      Liu et al., `Towards Efficient and Scalable Sharpness-Aware Minimization
      <https://arxiv.org/abs/2203.02714>`_, CVPR 2022, Algorithm 1.
    """
    check_non_negative("alpha", alpha, schedule=True)

    def init_fn(params: optax.Params) -> ReuseDirectionState:
        return ReuseDirectionState(jnp.zeros([], jnp.int32), optax.tree.zeros_like(params))

    def combine_fn(
        state: ReuseDirectionState, clean: optax.Updates, perturbed: optax.Updates | None
    ) -> tuple[optax.Updates, ReuseDirectionState]:
        emitted, v = perturbed, state.sharp_direction
        if perturbed is None:  # a plain step
            alpha_t = at_step("alpha", alpha, state.step, check_non_negative)
            emitted = optax.tree.cast_like(_add_direction(clean, v, alpha_t), clean)
        else:
            v = optax.tree.cast_like(_next_direction(perturbed, clean, v), v)
        return emitted, ReuseDirectionState(optax.safe_increment(state.step), v)

    return Combination(init_fn, combine_fn)


@standard_promotion
def _next_direction(g_s: optax.Updates, g: optax.Updates, kept: optax.Updates) -> optax.Updates:
    """``g_s - (<g_s, g> / |g|^2) g``; 0 if that is rounding noise, ``kept`` if it is not finite."""
    projection = divide(dot(g_s, g), squared_norm(g))
    v = optax.tree.add_scale(as_accumulator(g_s), -projection, as_accumulator(g))
    length = norm(v)
    # Where g_s is parallel to g, v is the rounding error of both, yet added at full length.
    is_noise = length <= _rounding(g_s) * norm(g_s)
    v = optax.tree.where(is_noise, optax.tree.zeros_like(v), v)
    return optax.tree.where(jnp.isfinite(length), v, as_accumulator(kept))


def _rounding(g_s: optax.Updates) -> float:
    """Relative size of the rounding errors in ``v``: of the gradients, and of the two sums."""
    precisions = [float(jnp.finfo(x.dtype).eps) for x in jax.tree.leaves(g_s)]
    return max([*precisions, 16 * float(jnp.finfo(scalar_dtype(g_s)).eps)])


@standard_promotion
def _add_direction(g: optax.Updates, v: optax.Updates, alpha: Any) -> optax.Updates:
    """``g + alpha (|g| / |v|) v``; ``g`` if ``v`` is zero."""
    scale = alpha * divide(norm(g), norm(v))
    return optax.tree.add_scale(as_accumulator(g), scale, as_accumulator(v))
