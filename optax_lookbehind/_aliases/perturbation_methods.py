"""SAM with another perturbation: SAM-ON, USAM, LE-SAM, Friendly SAM and VaSSO."""

import optax

from optax_lookbehind._budget_perturbation import budget_perturbation
from optax_lookbehind._core.checks import check_positive
from optax_lookbehind._core.types import AxisName, Mask
from optax_lookbehind._filters import friendly_filter, vasso_filter
from optax_lookbehind._multistep import multistep
from optax_lookbehind._perturbations import masked_perturbation, sam_perturbation


def sam_on(
    rho: optax.ScalarOrSchedule,
    mask: Mask,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM that perturbs only what the mask selects: normalization layers (SAM-ON). 2 gradients.

    ``multistep(masked_perturbation(sam_perturbation(rho), mask))``: see
    :func:`masked_perturbation`, which also takes ASAM's rule. ``mask`` should be True on the scales
    and shifts of the normalization layers and False elsewhere; good radii are larger than SAM's.
    (A callable needs ``static_args=("mask",)`` under :func:`optax.inject_hyperparams`.)

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = ``|Mv|^2``;
    see there.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      mask: a pytree of bools like the weights (or a prefix of it), or a callable from weights to
        one: True on the weights to perturb.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Mueller et al., `SAM-ON <https://arxiv.org/abs/2306.04226>`_, NeurIPS 2023.
    """
    return multistep(
        masked_perturbation(sam_perturbation(rho), mask),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def usam(
    rho: optax.ScalarOrSchedule, *, axis_name: AxisName = None, sync_perturbation: bool = True
) -> optax.GradientTransformationExtraArgs:
    r"""SAM without the normalization of the gradient: :math:`e = \rho g` (USAM). 2 gradients.

    ``multistep(optax.scale_by_learning_rate(rho, flip_sign=False))``: see :func:`multistep`.
    ``rho`` is a step size here, in the units of a learning rate, > 0, or an Optax schedule; the
    larger the gradient, the larger the perturbation.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = 1 and
    ``gradient_norm=1``.

    Args:
      rho: step size of the ascent, > 0, in the units of a learning rate; or an Optax schedule.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Dai, Ahn and Sra, `The Crucial Role of Normalization in Sharpness-Aware Minimization
      <https://arxiv.org/abs/2305.15287>`_, NeurIPS 2023.
    """
    check_positive("rho", rho, schedule=True)
    return multistep(
        optax.scale_by_learning_rate(rho, flip_sign=False),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def le_sam(
    budget: optax.ScalarOrSchedule,
    rho_max: float | None = None,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM whose radius lets the loss rise by a budget, to first order (LE-SAM). 2 gradients.

    ``multistep(budget_perturbation(budget, rho_max))``: see :func:`budget_perturbation`.

    Edge of stability: SAM's at the radius ``min(budget / |g|, rho_max)``, see
    :func:`~optax_lookbehind.sharpness.response`.

    Args:
      budget: rise of the loss, > 0, in the units of the loss; or an Optax schedule.
      rho_max: the longest perturbation, > 0, in the units of the weights; None is no cap.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Wang et al., `LE-SAM <https://arxiv.org/abs/2605.10183>`_, ICML 2026.
    """
    return multistep(
        budget_perturbation(budget, rho_max),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def friendly_sam(
    rho: optax.ScalarOrSchedule,
    sigma: float = 1.0,
    decay: float = 0.9,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM along what distinguishes this minibatch's gradient (Friendly SAM). 2 gradients.

    ``multistep(optax.chain(friendly_filter(sigma, decay), sam_perturbation(rho)))``: see
    :func:`friendly_filter`. The authors use ``rho=0.2`` on CIFAR-100.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = 1 + sigma (1
    - decay) / (1 + decay).

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      sigma: weight of the running mean that is subtracted from the gradient, >= 0.
      decay: decay rate of the running mean, in [0, 1).
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Li et al., `Friendly SAM <https://arxiv.org/abs/2403.12350>`_, CVPR 2024.
    """
    return multistep(
        optax.chain(friendly_filter(sigma, decay), sam_perturbation(rho)),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def vasso(
    rho: optax.ScalarOrSchedule,
    theta: float = 0.9,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM along a running mean of gradients (VaSSO). 2 gradients.

    ``multistep(optax.chain(vasso_filter(theta), sam_perturbation(rho)))``: see
    :func:`vasso_filter`.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = theta / (2 -
    theta).

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      theta: weight of the new gradient in the running mean, in (0, 1].
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Li and Giannakis, `VaSSO <https://arxiv.org/abs/2309.15639>`_, NeurIPS 2023.
    """
    return multistep(
        optax.chain(vasso_filter(theta), sam_perturbation(rho)),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )
