"""RMS ascent: a perturbation rule that divides the gradient by its root mean square."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import check_fraction, check_positive
from optax_lookbehind._core.tree import as_accumulator, standard_promotion
from optax_lookbehind._perturbations import sam_perturbation


class RMSPerturbationState(NamedTuple):
    """State of :func:`rms_perturbation`.

    Attributes:
      mean_square: the running mean of squared gradients, like the weights, in float32 or wider.
      perturbation_state: state of SAM's rule, for a scheduled rho.
    """

    mean_square: optax.Updates
    perturbation_state: optax.OptState


def rms_perturbation(
    rho: optax.ScalarOrSchedule, decay: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    r"""SAM's perturbation along the gradient divided by its root mean square.

    .. math::
      \nu_t = \beta \nu_{t-1} + (1 - \beta) g_t^2, \qquad
      d = \frac{g_t}{\sqrt{\nu_t + \epsilon}}, \qquad
      e = \rho \, \frac{d}{\lVert d \rVert_2}

    elementwise, with :math:`\nu_{-1} = 0`, so that the first ascent follows the sign of the
    gradient. :math:`\nu` is of gradients at the weights themselves; the second moment of an Adam
    behind the method is of the emitted ones. It is kept in float32: in bfloat16, with its decay of
    0.999, it stops growing at about half of its value. Each ascent step of a training step adds its
    own gradient to the mean of the training steps before.

    Args:
      rho: length of the perturbation, > 0, in the units of the weights; or an Optax schedule.
      decay: :math:`\beta`, decay rate of the mean, in [0, 1).
      eps: :math:`\epsilon`, inside the root, > 0.

    Returns:
      An :class:`optax.GradientTransformation`; its state holds one copy of the weights.

    Raises:
      ValueError: if ``rho`` or ``eps`` is not a finite number > 0 or ``decay`` is outside [0, 1).

    References:
      Singh et al., `Avoiding spurious sharpness minimization broadens applicability of SAM
      <https://arxiv.org/abs/2502.02407>`_, ICML 2025, precondition the ascent; the exact
      preconditioner here is this library's choice.
    """
    check_fraction("decay", decay, one=False)
    check_positive("eps", eps)
    rule = sam_perturbation(rho)

    def init_fn(params: optax.Params) -> RMSPerturbationState:
        return RMSPerturbationState(
            optax.tree.zeros_like(as_accumulator(params)), rule.init(params)
        )

    @standard_promotion
    def update_fn(
        updates: optax.Updates, state: RMSPerturbationState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, RMSPerturbationState]:
        g = as_accumulator(updates)
        average = lambda v, g: decay * v + (1 - decay) * g**2  # noqa: E731
        # Elements that are not finite do not enter the mean, which would never get rid of them.
        mean_square = jax.tree.map(
            lambda v, g: jnp.where(jnp.isfinite(g), average(v, g), v).astype(v.dtype),
            state.mean_square,
            g,
        )
        direction = jax.tree.map(lambda v, g: g / jnp.sqrt(v + eps), mean_square, g)
        e, rule_state = rule.update(direction, state.perturbation_state, params)
        return optax.tree.cast_like(e, updates), RMSPerturbationState(mean_square, rule_state)

    return optax.GradientTransformation(init_fn, update_fn)
