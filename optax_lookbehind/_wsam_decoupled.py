"""WSAM with the sharpness term decoupled from the optimizer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._combinations import sharpness_weight
from optax_lookbehind._core.ascent import (
    advance_state,
    ascent_step,
    fast_params,
    gradients_of,
    init_perturbation,
    next_losses,
)
from optax_lookbehind._core.checks import (
    at_step,
    check_devices,
    check_non_negative,
    check_positive,
)
from optax_lookbehind._core.tree import add_scale, as_accumulator, norm, scalar_dtype, scale, sub
from optax_lookbehind._core.types import AxisName, GradFn
from optax_lookbehind._perturbations import sam_perturbation


class WSAMDecoupledState(NamedTuple):
    """State of :func:`wsam_decoupled`.

    Attributes:
      step: number of training steps taken, int32, for a scheduled learning rate.
      perturbation_state: state of SAM's rule.
      perturbed_losses: the loss at the perturbed point, as in :class:`MultistepState`.
      optimizer_state: state of the optimizer.
    """

    step: jax.Array
    perturbation_state: optax.OptState
    perturbed_losses: jax.Array
    optimizer_state: optax.OptState


def wsam_decoupled(
    optimizer: optax.GradientTransformation,
    learning_rate: optax.ScalarOrSchedule,
    rho: optax.ScalarOrSchedule,
    gamma: float = 0.9,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""WSAM with the sharpness term outside the optimizer, which gets the plain gradient only.

    .. math::
      w \leftarrow w + u(g) - \eta \, \frac{\gamma}{1 - \gamma} (g_s - g)

    with u the optimizer's update for the plain gradient g and :math:`g_s = \nabla L(w + e)`: the
    sharpness term has no momentum and no weight decay. With plain SGD it equals :func:`wsam`.
    Change this::

      tx = optax.adamw(1e-3)
      ...
      updates, state = tx.update(grads, state, params)

    To::

      tx = wsam_decoupled(optax.adamw(1e-3), learning_rate=1e-3, rho=0.05, gamma=0.9)
      ...
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    A step costs two gradients, the caller's included.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1 / (1 + beta), d =
    gamma / (1 - gamma).

    Args:
      optimizer: any Optax optimizer, complete: nothing is chained behind
        :func:`wsam_decoupled`.
      learning_rate: eta, the rate of the sharpness term, a number > 0 or an Optax schedule; usually
        that of the optimizer.
      rho: radius of SAM's ball; see :func:`sam_perturbation`.
      gamma: weight of the sharpness, in [0, 1). 0 is the optimizer alone, 0.5 weighs the sharpness
        as SAM does and 0.9, the default, nine times as much.
      axis_name: the mapped axis; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits the final update. If :math:`g_s`
      is zero the sharpness term is omitted, because it would be an ascent on the loss.

    Raises:
      ValueError: if ``gamma`` is outside [0, 1), or ``rho`` or ``learning_rate`` is not a finite
        number > 0; in ``update`` if ``params`` or ``grad_fn`` is missing.

    References:
      Yue et al., `Sharpness-Aware Minimization Revisited: Weighted Sharpness as a Regularization
      Term <https://arxiv.org/abs/2305.15817>`_, KDD 2023; the authors' code, atorch's
      ``WeightedSAM`` with ``decouple=True``.
    """
    check_positive("learning_rate", learning_rate, schedule=True)
    check_devices(axis_name, sync_perturbation)
    alpha = sharpness_weight(gamma)
    optimizer = optax.with_extra_args_support(optimizer)
    perturbation = sam_perturbation(rho)

    def init_fn(params: optax.Params) -> WSAMDecoupledState:
        params = fast_params(params)
        return WSAMDecoupledState(
            step=jnp.zeros([], jnp.int32),
            perturbation_state=init_perturbation(perturbation, params),
            perturbed_losses=jnp.zeros([1], scalar_dtype(params)),
            optimizer_state=optimizer.init(params),
        )

    def update_fn(
        updates: optax.Updates,
        state: WSAMDecoupledState,
        params: optax.Params | None = None,
        *,
        grad_fn: GradFn | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, WSAMDecoupledState]:
        gradient = gradients_of(updates, params, grad_fn, axis_name, sync_perturbation)
        g, w = gradient.shared, fast_params(params)
        p = ascent_step(perturbation, state.perturbation_state, gradient.p_0, gradient.g_0)
        loss, g_s = gradient.mean(gradient.at(p, jnp.int32(0)))
        u, optimizer_state = optimizer.update(g, state.optimizer_state, w, **extra_args)
        eta = at_step("learning_rate", learning_rate, state.step, check_non_negative)
        # w <- w + u(g) - eta gamma / (1 - gamma) (g_s - g)
        weight = jnp.where(norm(g_s) == 0, 0, scale(eta, alpha))
        sharpness = sub(as_accumulator(g_s), as_accumulator(g))
        emitted = add_scale(as_accumulator(u), -weight, sharpness)
        return optax.tree.cast_like(emitted, updates), WSAMDecoupledState(
            step=optax.safe_increment(state.step),
            perturbation_state=advance_state(perturbation, state.perturbation_state, g, w),
            perturbed_losses=next_losses([loss], state.perturbed_losses),
            optimizer_state=optimizer_state,
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
