"""LE-SAM's perturbation rule: a radius from a budget for the rise of the loss."""

import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import at_step, check_non_negative, check_positive
from optax_lookbehind._core.tree import divide, norm, scale, standard_promotion


def budget_perturbation(
    budget: optax.ScalarOrSchedule, rho_max: float | None = None
) -> optax.GradientTransformation:
    r"""LE-SAM's perturbation: the radius at which the loss rises by a budget, to first order.

    .. math::
      e = \min\left(\frac{\sigma}{\lVert g \rVert}, \rho_{max}\right) \frac{g}{\lVert g \rVert},
      \qquad \text{so that } \langle g, e \rangle = \sigma \text{ below the cap}

    The smaller the gradient, the longer the perturbation, up to the cap. Unlike SAM's, its length
    depends on the scale of the loss: on a sum in place of a mean, on label smoothing and on the
    loss scaling of float16, which must be undone in both gradients. Each ascent step of an inner
    loop spends a whole budget. With ``sync_perturbation=False`` the norm is that of a device's own
    gradient, larger than that of the average, and the radius smaller.

    Args:
      budget: sigma, > 0, in the units of the loss; or an Optax schedule, which advances once per
        training step. The authors' class has 0.1, their script 0.35 with a linear warm-up and a
        cosine decay to 0 over the last fifth of training.
      rho_max: the longest perturbation, > 0, in the units of the weights. None is no cap; the
        authors' class has 0.05, their script 0.3. A budget above ``rho_max * |g|`` is SAM with
        ``rho_max``.

    Returns:
      An :class:`optax.GradientTransformation`. A zero gradient gives a zero perturbation.

    Raises:
      ValueError: if ``budget`` or ``rho_max`` is not a finite number > 0.

    References:
      Wang et al., `LE-SAM <https://arxiv.org/abs/2605.10183>`_, ICML 2026; the authors' code,
      https://github.com/smithgun2005/LE-SAM-ICML2026.
    """
    check_positive("budget", budget, schedule=True)
    if rho_max is not None:
        check_positive("rho_max", rho_max)
    checked = lambda step: at_step("budget", budget, step, check_non_negative)  # noqa: E731
    times_budget = optax.scale_by_learning_rate(
        checked if callable(budget) else budget, flip_sign=False
    )

    @standard_promotion
    def update_fn(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        inverse = divide(1, norm(updates))
        radius, state = times_budget.update(inverse, state)  # sigma / |g|
        if rho_max is not None:
            radius = jnp.minimum(radius, rho_max)
        return optax.tree.cast_like(scale(radius * inverse, updates), updates), state

    return optax.GradientTransformation(times_budget.init, update_fn)
