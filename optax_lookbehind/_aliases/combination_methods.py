"""SAM with another combination of its two gradients: GSAM, GNP, WSAM, XSAM and others."""

import optax

from optax_lookbehind._combinations import (
    down_weighted,
    renormalized,
    sharpness_weight,
    surrogate_gap,
    weighted,
)
from optax_lookbehind._core.types import AxisName
from optax_lookbehind._interpolated import interpolated
from optax_lookbehind._multistep import multistep
from optax_lookbehind._perturbations import sam_perturbation


def gsam(
    rho: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule = 0.4,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM that also shrinks the surrogate gap (GSAM). 2 gradients.

    ``multistep(sam_perturbation(rho), combine=surrogate_gap(alpha))``: see :func:`surrogate_gap`.
    The authors let ``rho`` follow the learning rate, from 0.6 to 0.1 for Vision Transformers: an
    Optax schedule, such as ``lambda t: 0.1 + 0.5 * learning_rate(t) / learning_rate_max``.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = 1.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      alpha: weight of the plain gradient's orthogonal part, >= 0; or an Optax schedule. 0 is SAM.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Zhuang et al., `GSAM <https://arxiv.org/abs/2203.08065>`_, ICLR 2022.
    """
    return multistep(
        sam_perturbation(rho),
        combine=surrogate_gap(alpha),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def gnp(
    rho: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule = 0.8,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM mixed with the plain gradient: a penalty on the gradient norm (GNP). 2 gradients.

    ``multistep(sam_perturbation(rho), combine=weighted(alpha))``: see :func:`weighted`. The paper's
    penalty weight is ``lambda = alpha * rho``.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = alpha.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      alpha: weight of the perturbed gradient, >= 0; or an Optax schedule. 1 is SAM.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Zhao et al., `GNP <https://arxiv.org/abs/2202.03599>`_, ICML 2022.
    """
    return multistep(
        sam_perturbation(rho),
        combine=weighted(alpha),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def wsam(
    rho: optax.ScalarOrSchedule,
    gamma: float = 0.9,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""SAM with a weight on its sharpness (WSAM, coupled with the optimizer). 2 gradients.

    ``multistep(sam_perturbation(rho), combine=weighted(gamma / (1 - gamma)))``: see
    :func:`weighted`. ``gamma`` is in [0, 1): 0 is the plain gradient, 0.5 is SAM and the default
    weighs the sharpness nine times as much as SAM. The authors recommend :func:`wsam_decoupled`.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = gamma / (1 -
    gamma).

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      gamma: weight of the sharpness, in [0, 1).
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Yue et al., `WSAM <https://arxiv.org/abs/2305.15817>`_, KDD 2023.
    """
    return multistep(
        sam_perturbation(rho),
        combine=weighted(sharpness_weight(gamma)),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def stable_sam(
    rho: optax.ScalarOrSchedule, *, axis_name: AxisName = None, sync_perturbation: bool = True
) -> optax.GradientTransformationExtraArgs:
    """SAM's direction with the plain gradient's length (Stable SAM). 2 gradients.

    ``multistep(sam_perturbation(rho), combine=renormalized())``: see :func:`renormalized`.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = 0, the
    optimizer's own.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Tan et al., `Stable SAM <https://arxiv.org/abs/2401.07250>`_, JMLR 2025.
    """
    return multistep(
        sam_perturbation(rho),
        combine=renormalized(),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def saner(
    rho: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule = 0.5,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM for noisy labels: shrinks components smaller than the plain gradient's. 2 gradients.

    ``multistep(sam_perturbation(rho), combine=down_weighted(alpha))``: see :func:`down_weighted`.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = 1.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      alpha: how much of the smaller components is taken away, in [0, 1]; or an Optax schedule. 0 is
        SAM.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Luong et al., `SANER <https://arxiv.org/abs/2411.17132>`_, AISTATS 2026.
    """
    return multistep(
        sam_perturbation(rho),
        combine=down_weighted(alpha),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def xsam(
    rho: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule,
    k: int = 1,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM turned away from the direction of its ascent (XSAM, with a fixed alpha). k + 1 gradients.

    ``multistep(sam_perturbation(rho), k, combine=interpolated(alpha))``: see :func:`interpolated`.
    The authors search ``alpha`` once per epoch, and their ``rho`` is that of all k steps together.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = 1, d = k.

    Args:
      rho: length of an ascent step, > 0, in the units of the weights; or an Optax schedule.
      alpha: 1 is SAM, 0 the direction of the ascent, more than 1 turns away from it; >= 0, or an
        Optax schedule.
      k: number of ascent steps, >= 1.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Chen and Zhou, `XSAM <https://arxiv.org/abs/2603.10048>`_, ICLR 2026.
    """
    return multistep(
        sam_perturbation(rho),
        k,
        combine=interpolated(alpha),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )
