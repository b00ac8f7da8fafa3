"""SAM and Lookbehind on some of the steps: AE-SAM, LookSAM, SS-SAM and their relatives."""

import jax
import optax

from optax_lookbehind._core.types import Alpha, AxisName
from optax_lookbehind._lookbehind import lookbehind
from optax_lookbehind._multistep import multistep
from optax_lookbehind._perturbations import sam_perturbation
from optax_lookbehind._policies import (
    adaptive_policy,
    late_policy,
    periodic_policy,
    random_policy,
)
from optax_lookbehind._reuse_direction import reuse_direction


def ae_sam(
    rho: optax.ScalarOrSchedule,
    total_steps: int,
    lambda_1: float = -1.0,
    lambda_2: float = 1.0,
    decay: float = 0.9,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM on about half of the steps, those with large gradients. 1 or 2 gradients a step.

    ``multistep(sam_perturbation(rho), policy=adaptive_policy(total_steps, lambda_1, lambda_2,
    decay))``: see :func:`adaptive_policy`.

    No edge of the form of :func:`~optax_lookbehind.sharpness.response`: a policy is stable
    where the product of its steps' factors is.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      total_steps: number of training steps, >= 1.
      lambda_1: threshold at the end, in standard deviations of the squared gradient norm.
      lambda_2: threshold at the start.
      decay: decay rate of the running statistics, in [0, 1).
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Jiang et al., `AE-SAM <https://arxiv.org/abs/2304.14647>`_, ICLR 2023, Algorithm 1.
    """
    return multistep(
        sam_perturbation(rho),
        policy=adaptive_policy(total_steps, lambda_1, lambda_2, decay),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def ae_looksam(
    rho: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule,
    total_steps: int,
    lambda_1: float = 0.0,
    lambda_2: float = 2.0,
    decay: float = 0.9,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """AE-SAM that reuses the last sharp direction on its plain steps. 1 or 2 gradients a step.

    ``multistep(sam_perturbation(rho), combine=reuse_direction(alpha), policy=adaptive_policy(
    total_steps, lambda_1, lambda_2, decay))``: see :func:`adaptive_policy` and
    :func:`reuse_direction`. The higher lambdas apply SAM less often
    than :func:`ae_sam`; the paper searches ``alpha`` in 0.1, 0.3, 0.6, 0.9.

    No edge of the form of :func:`~optax_lookbehind.sharpness.response`: its kept direction is a
    constant push between sharp steps.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      alpha: length of the reused direction relative to the gradient, >= 0; or an Optax schedule.
      total_steps: number of training steps, >= 1.
      lambda_1: threshold at the end, in standard deviations of the squared gradient norm.
      lambda_2: threshold at the start.
      decay: decay rate of the running statistics, in [0, 1).
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Jiang et al., `AE-LookSAM <https://arxiv.org/abs/2304.14647>`_, ICLR 2023, section 3.2.
    """
    return multistep(
        sam_perturbation(rho),
        combine=reuse_direction(alpha),
        policy=adaptive_policy(total_steps, lambda_1, lambda_2, decay),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def looksam(
    rho: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule,
    period: int = 5,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM every ``period`` steps, its direction reused in between. ``1 + 1/period`` gradients.

    ``multistep(sam_perturbation(rho), combine=reuse_direction(alpha),
    policy=periodic_policy(period))``: see :func:`periodic_policy` and :func:`reuse_direction`.

    No edge of the form of :func:`~optax_lookbehind.sharpness.response`: its kept direction is a
    constant push between sharp steps.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      alpha: length of the reused direction relative to the gradient, >= 0; or an Optax schedule.
      period: SAM runs on every ``period``-th step, >= 1, beginning with the first.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Liu et al., `LookSAM <https://arxiv.org/abs/2203.02714>`_, CVPR 2022.
    """
    return multistep(
        sam_perturbation(rho),
        combine=reuse_direction(alpha),
        policy=periodic_policy(period),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def ss_sam(
    rho: optax.ScalarOrSchedule,
    probability: float = 0.5,
    key: int | jax.Array = 0,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM on a random fraction of the steps. ``1 + probability`` gradients on average.

    ``multistep(sam_perturbation(rho), policy=random_policy(probability, key))``: see
    :func:`random_policy`.

    No edge of the form of :func:`~optax_lookbehind.sharpness.response`: a policy is stable
    where the product of its steps' factors is.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      probability: the probability of a SAM step, in [0, 1].
      key: a seed or a ``jax.random.key``, kept in the state.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Zhao, Zhang and Hu, `SS-SAM <https://arxiv.org/abs/2203.09962>`_, 2022.
    """
    return multistep(
        sam_perturbation(rho),
        policy=random_policy(probability, key),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def late_sam(
    rho: optax.ScalarOrSchedule,
    total_steps: int,
    fraction: float,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM in the last ``fraction`` of training only. ``1 + fraction`` gradients on average.

    ``multistep(sam_perturbation(rho), policy=late_policy(total_steps, fraction))``: see
    :func:`late_policy`, also for the fraction to choose.

    No edge of the form of :func:`~optax_lookbehind.sharpness.response`: a policy is stable
    where the product of its steps' factors is.

    Args:
      rho: radius of SAM's ball, > 0, in the units of the weights; or an Optax schedule.
      total_steps: number of training steps, >= 1.
      fraction: fraction of them, at the end, that use SAM, in [0, 1].
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Zhou et al., `Late SAM <https://arxiv.org/abs/2410.10373>`_, ICLR 2025.
    """
    return multistep(
        sam_perturbation(rho),
        policy=late_policy(total_steps, fraction),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def ae_lookbehind_sam(
    k: int,
    rho: optax.ScalarOrSchedule,
    alpha: Alpha,
    total_steps: int,
    lambda_1: float = -1.0,
    lambda_2: float = 1.0,
    decay: float = 0.9,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""AE-SAM with Lookbehind in place of SAM. 1 or ``k + 1`` gradients a step.

    ``lookbehind(sam_perturbation(rho), k, alpha, policy=adaptive_policy(total_steps, lambda_1,
    lambda_2, decay))``: see :func:`adaptive_policy`. Lookbehind emits :math:`\alpha \sum_i g_i`,
    about :math:`k \alpha` gradients; so that the effective learning rate does not jump from step to
    step, plain steps emit :math:`k \alpha \, g` with the alpha that Lookbehind last used (adaptive:
    1 before it ran; one per leaf for ``"adaptive_per_tensor"``). A learning rate tuned for
    Lookbehind then fits; one tuned for plain steps is divided by ``k * alpha``, as in
    ``optax.chain(ae_lookbehind_sam(5, 0.05, 0.5, total_steps), optax.sgd(0.1 / (5 * 0.5)))`` in
    place of ``optax.sgd(0.1)``.

    This method is new here: it joins the two papers, and appears in neither.

    No edge of the form of :func:`~optax_lookbehind.sharpness.response`: a policy is stable
    where the product of its steps' factors is.

    Args:
      k: number of ascent steps, >= 1.
      rho: length of each ascent step, > 0, in the units of the weights; or an Optax schedule.
      alpha: the slow step size: a number in (0, 1], an Optax schedule, ``"adaptive"`` or
        ``"adaptive_per_tensor"``.
      total_steps: number of training steps, >= 1.
      lambda_1: threshold at the end, in standard deviations of the squared gradient norm.
      lambda_2: threshold at the start.
      decay: decay rate of the running statistics, in [0, 1).
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024;
      Jiang et al., `AE-SAM <https://arxiv.org/abs/2304.14647>`_, ICLR 2023.
    """
    return lookbehind(
        sam_perturbation(rho),
        k,
        alpha,
        policy=adaptive_policy(total_steps, lambda_1, lambda_2, decay),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )
