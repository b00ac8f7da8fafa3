"""The combination of XSAM: between the direction of the ascent and that of the gradient there."""

from typing import Any

import jax.numpy as jnp
import optax

from optax_lookbehind._combinations import Combination, CombinationState
from optax_lookbehind._core.checks import at_step, check_non_negative
from optax_lookbehind._core.tree import (
    add_scale,
    as_accumulator,
    divide,
    dot,
    norm,
    scale,
    standard_promotion,
)


def interpolated(alpha: optax.ScalarOrSchedule) -> Combination:
    r"""Turns the perturbed gradient towards the ascent's displacement, or away from it (XSAM).

    .. math::
      \lVert g_k \rVert \,
      \frac{\sin((1 - \alpha) \psi) \, v_0 + \sin(\alpha \psi) \, v_1}{\sin \psi}, \qquad
      v_0 = \frac{p_k - w}{\lVert p_k - w \rVert}, \quad v_1 = \frac{g_k}{\lVert g_k \rVert}

    with :math:`\psi` the angle between :math:`v_0` and :math:`v_1`: a rotation of the perturbed
    gradient in their plane, which keeps its length. Use it as
    ``multistep(perturbation, k, combine=interpolated(1.4))``.

    Args:
      alpha: 1 is the perturbed gradient itself, 0 the direction of the ascent, and more than 1
        turns away from it; >= 0, or an Optax schedule. The authors search it in 0, 0.1, ..., 2 once
        per epoch, as the loss at a distance along the emitted direction that is the highest; the
        page of recipes has the search.

    Returns:
      A :class:`Combination`. If :math:`g_k` is zero it emits zero, if the displacement is,
      :math:`g_k`. Where the two directions are parallel, up to rounding, it emits
      :math:`\lVert g_k \rVert ((1 - \alpha) v_0 + \alpha v_1)`.

    Raises:
      ValueError: if ``alpha`` is not a finite number >= 0.

    References:
      Chen and Zhou, `XSAM <https://arxiv.org/abs/2603.10048>`_, ICLR 2026; the authors' code,
      https://github.com/Cccjl219/XSAM.
    """
    check_non_negative("alpha", alpha, schedule=True)

    def init_fn(params: optax.Params) -> CombinationState:
        del params
        return CombinationState(step=jnp.zeros([], jnp.int32))

    def combine_fn(
        state: CombinationState,
        clean: optax.Updates,
        perturbed: optax.Updates | None,
        displacement: optax.Updates | None,
    ) -> tuple[optax.Updates, CombinationState]:
        next_state = CombinationState(optax.safe_increment(state.step))
        if perturbed is None:
            return clean, next_state
        alpha_t = at_step("alpha", alpha, state.step, check_non_negative)
        return _rotated(perturbed, displacement, alpha_t), next_state

    return Combination(init_fn, combine_fn, uses_displacement=True)


@standard_promotion
def _rotated(g: optax.Updates, displacement: Any, alpha: Any) -> optax.Updates:
    """``|g| (sin((1 - alpha) psi) v_0 + sin(alpha psi) v_1) / sin(psi)``."""
    g, displacement = as_accumulator(g), as_accumulator(displacement)
    length, distance = norm(g), norm(displacement)
    v_1, v_0 = scale(divide(1, length), g), scale(divide(1, distance), displacement)
    cos = dot(v_0, v_1)
    # Of the component of v_1 orthogonal to v_0: near 1 the cosine does not tell angles apart.
    sin = norm(add_scale(v_1, -cos, v_0))
    parallel = sin <= 16 * jnp.finfo(sin.dtype).eps
    sin = jnp.where(parallel, 1, sin)
    psi = jnp.arctan2(sin, cos)
    first = jnp.where(parallel, 1 - alpha, jnp.sin((1 - alpha) * psi) / sin)
    second = jnp.where(parallel, alpha, jnp.sin(alpha * psi) / sin)
    second = jnp.where(distance == 0, 1, second)  # v_0 is zero
    return scale(length, optax.tree.add(scale(first, v_0), scale(second, v_1)))
