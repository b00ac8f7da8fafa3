"""SAM, ASAM, their multistep forms and ESAM."""

import jax
import optax

from optax_lookbehind._core.types import AxisName, Mask
from optax_lookbehind._multistep import multistep
from optax_lookbehind._perturbations import (
    asam_perturbation,
    sam_perturbation,
    stochastic_perturbation,
)


def sam(
    rho: optax.ScalarOrSchedule, *, axis_name: AxisName = None, sync_perturbation: bool = True
) -> optax.GradientTransformationExtraArgs:
    """Sharpness-aware minimization: the gradient at the worst point within ``rho``. 2 gradients.

    ``multistep(sam_perturbation(rho))``: see :func:`multistep` for the call and
    :func:`sam_perturbation` for ``rho``. The Lookbehind paper uses
    ``rho=0.05`` on CIFAR-10.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = 1.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Foret et al., `Sharpness-Aware Minimization <https://arxiv.org/abs/2010.01412>`_, 2021.
    """
    return multistep(
        sam_perturbation(rho), axis_name=axis_name, sync_perturbation=sync_perturbation
    )


def asam(
    rho: optax.ScalarOrSchedule,
    eta: float = 0.01,
    mask: Mask | None = None,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Adaptive SAM: :func:`sam` with a ball that scales with each weight. 2 gradients.

    ``multistep(asam_perturbation(rho, eta, mask))``: see :func:`multistep` for the call and
    :func:`asam_perturbation` for the rest. The Lookbehind paper
    uses ``rho=0.5`` on CIFAR-10.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = v'T^2 v, a
    bound; see there.

    Args:
      rho: radius of ASAM's ball, > 0, about ten times SAM's; or an Optax schedule.
      eta: added to ``|w|`` so that weights at zero can move, >= 0.
      mask: a pytree of bools like the weights, or a callable to one: where False, the ball does not
        scale with the weight; None scales everywhere. See :func:`asam_perturbation`.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Kwon et al., `ASAM <https://arxiv.org/abs/2102.11600>`_, 2021.
    """
    return multistep(
        asam_perturbation(rho, eta, mask), axis_name=axis_name, sync_perturbation=sync_perturbation
    )


def multistep_sam(
    k: int,
    rho: optax.ScalarOrSchedule,
    average: bool = False,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM with ``k`` ascent steps of length ``rho`` each. ``k + 1`` gradients.

    ``multistep(sam_perturbation(rho), k, average=average)``: see :func:`multistep`.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = k (averaged:
    (k + 1) / 2).

    Args:
      k: number of ascent steps, >= 1.
      rho: length of each ascent step, > 0, in the units of the weights; or an Optax schedule.
      average: whether to emit the mean of the k perturbed gradients instead of the last.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.
    """
    return multistep(
        sam_perturbation(rho),
        k,
        average=average,
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def multistep_asam(
    k: int,
    rho: optax.ScalarOrSchedule,
    average: bool = False,
    eta: float = 0.01,
    mask: Mask | None = None,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """ASAM with ``k`` ascent steps. ``k + 1`` gradients.

    ``multistep(asam_perturbation(rho, eta, mask), k, average=average)``: see :func:`multistep`.

    No edge of the form of :func:`~optax_lookbehind.sharpness.response`: as :func:`asam`, its d
    depends on weights and direction.

    Args:
      k: number of ascent steps, >= 1.
      rho: length of each ascent step in the scaled coordinates, > 0; or an Optax schedule.
      average: whether to emit the mean of the k perturbed gradients instead of the last.
      eta: added to ``|w|`` so that weights at zero can move, >= 0.
      mask: a pytree of bools like the weights, or a callable to one: where False, the ball does not
        scale with the weight; None scales everywhere. See :func:`asam_perturbation`.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.
    """
    return multistep(
        asam_perturbation(rho, eta, mask),
        k,
        average=average,
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def esam(
    rho: optax.ScalarOrSchedule,
    beta: float = 0.6,
    key: int | jax.Array = 0,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM that perturbs a random fraction ``beta`` of the weights. 2 gradients.

    ``multistep(stochastic_perturbation(sam_perturbation(rho), beta, key))``: see
    :func:`stochastic_perturbation`. This is ESAM's stochastic weight perturbation; for its
    sharpness-sensitive data selection build the ``grad_fn`` with
    :func:`sharpest_examples_grad_fn`.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = 1, in the
    mean over masks.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      beta: the probability of perturbing a weight, in (0, 1].
      key: a seed or a ``jax.random.key``, kept in the state.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Du et al., `ESAM <https://arxiv.org/abs/2110.03141>`_, ICLR 2022.
    """
    return multistep(
        stochastic_perturbation(sam_perturbation(rho), beta, key),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )
