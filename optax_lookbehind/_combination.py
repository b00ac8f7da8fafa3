"""A combination: the emitted gradient as a function of the plain and the perturbed gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import at_step, check_finite


class CombinationState(NamedTuple):
    """State of :func:`combination`.

    Attributes:
      step: number of training steps taken, int32, for scheduled coefficients.
    """

    step: jax.Array


def combination(
    fn: Callable[..., optax.Updates], **coefficients: optax.ScalarOrSchedule
) -> optax.GradientTransformationExtraArgs:
    r"""Makes a combination for ``multistep(..., combine=)`` from a function of two gradients.

    Change this, which emits the perturbed gradient :math:`g_s`::

      tx = optax.chain(multistep(sam_perturbation(rho=0.05)), optax.sgd(0.1))

    To this, which emits :math:`(1 - \alpha) g + \alpha g_s`::

      def mix(clean, perturbed, alpha):
          return jax.tree.map(lambda g, g_s: (1 - alpha) * g + alpha * g_s, clean, perturbed)

      combine = combination(mix, alpha=0.8)
      tx = optax.chain(multistep(sam_perturbation(rho=0.05), combine=combine), optax.sgd(0.1))

    With an ``axis_name`` the two gradients are combined before the average over the devices: with
    ``sync_perturbation=False`` each device combines its own gradients.

    A combination is an Optax transformation whose ``update`` gets the perturbed gradient as
    ``updates`` and the plain one as the keyword argument ``clean``. Write such a transformation,
    instead of using this function, if it needs a state of its own. That state advances once per
    training step, with both gradients averaged over the devices; on a policy's plain step both are
    the plain gradient.

    Args:
      fn: ``(clean, perturbed, **coefficients) -> emitted``, all three pytrees like the weights.
      **coefficients: numbers, or Optax schedules of the training step.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs`.

    Raises:
      ValueError: if ``fn`` is not a function, or a coefficient is neither a finite number nor a
        schedule.
    """
    if not callable(fn):
        raise ValueError(f"fn must be a function of two gradients, got {fn!r}.")
    for name, value in coefficients.items():
        check_finite(name, value, schedule=True)

    def init_fn(params: optax.Params) -> CombinationState:
        del params
        return CombinationState(step=jnp.zeros([], jnp.int32))

    def update_fn(
        updates: optax.Updates,
        state: CombinationState,
        params: optax.Params | None = None,
        *,
        clean: optax.Updates,
        **extra_args: Any,
    ) -> tuple[optax.Updates, CombinationState]:
        del params, extra_args
        values = {
            name: at_step(name, value, state.step, check_finite)
            for name, value in coefficients.items()
        }
        return fn(clean, updates, **values), CombinationState(optax.safe_increment(state.step))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
