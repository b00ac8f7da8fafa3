"""Lookbehind-SAM and Lookbehind-ASAM."""

import optax

from optax_lookbehind._core.types import Alpha, AxisName, Mask
from optax_lookbehind._lookbehind import lookbehind
from optax_lookbehind._perturbations import asam_perturbation, sam_perturbation


def lookbehind_sam(
    k: int,
    rho: optax.ScalarOrSchedule,
    alpha: Alpha,
    *,
    fast_optimizer: optax.GradientTransformation | None = None,
    switch_minibatch: bool = False,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Lookbehind with SAM's perturbation. ``k + 1`` gradients.

    ``lookbehind(sam_perturbation(rho), k, alpha, ...)``: see :func:`lookbehind` for the call and
    its arguments. On CIFAR-10 the paper uses ``rho=0.05``; k is 2, 5 or 10, alpha 0.2, 0.5, 0.8 or
    adaptive.

    A step is about ``k * alpha`` times as long as one of the optimizer alone. Divide its learning
    rate by that, as in
    ``optax.chain(lookbehind_sam(5, 0.05, 0.5), optax.sgd(0.1 / (5 * 0.5)))`` in place of
    ``optax.sgd(0.1)``, or tune the rate anew.

    Edge of stability: :func:`~optax_lookbehind.sharpness.response` with c = alpha k, d = alpha
    k (k + 1) / 2; lower with ``fast_optimizer``.

    Args:
      k: number of ascent steps, >= 1.
      rho: length of each ascent step, > 0, in the units of the weights; or an Optax schedule.
      alpha: the slow step size: a number in (0, 1], an Optax schedule, ``"adaptive"`` or
        ``"adaptive_per_tensor"``.
      fast_optimizer: an Optax optimizer for the fast weights; the result is then the final update,
        and nothing is chained behind.
      switch_minibatch: whether inner step ``i`` runs on minibatch ``i``: ``2k`` gradients.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient, or with
      ``fast_optimizer`` the final update.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024.
    """
    return lookbehind(
        sam_perturbation(rho),
        k,
        alpha,
        fast_optimizer=fast_optimizer,
        switch_minibatch=switch_minibatch,
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )


def lookbehind_asam(
    k: int,
    rho: optax.ScalarOrSchedule,
    alpha: Alpha,
    eta: float = 0.01,
    mask: Mask | None = None,
    *,
    fast_optimizer: optax.GradientTransformation | None = None,
    switch_minibatch: bool = False,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Lookbehind with ASAM's perturbation. ``k + 1`` gradients.

    ``lookbehind(asam_perturbation(rho, eta, mask), k, alpha, ...)``: see :func:`lookbehind` for
    the call and its arguments. On CIFAR-10 the paper uses ``rho=0.5``.

    A step is about ``k * alpha`` times as long as one of the optimizer alone. Divide its learning
    rate by that, as in
    ``optax.chain(lookbehind_asam(5, 0.5, 0.5), optax.sgd(0.1 / (5 * 0.5)))`` in place of
    ``optax.sgd(0.1)``, or tune the rate anew.

    No edge of the form of :func:`~optax_lookbehind.sharpness.response`: as :func:`asam`, its d
    depends on weights and direction.

    Args:
      k: number of ascent steps, >= 1.
      rho: length of each ascent step in the scaled coordinates, > 0; or an Optax schedule.
      alpha: the slow step size: a number in (0, 1], an Optax schedule, ``"adaptive"`` or
        ``"adaptive_per_tensor"``.
      eta: added to ``|w|`` so that weights at zero can move, >= 0.
      mask: a pytree of bools like the weights, or a callable to one: where False, the ball does not
        scale with the weight; None scales everywhere. See :func:`asam_perturbation`.
      fast_optimizer: an Optax optimizer for the fast weights; the result is then the final update,
        and nothing is chained behind.
      switch_minibatch: whether inner step ``i`` runs on minibatch ``i``: ``2k`` gradients.
      axis_name: the mapped axis over which gradients are averaged; see :func:`multistep`.
      sync_perturbation: whether the ascent follows the averaged gradient; see :func:`multistep`.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient, or with
      ``fast_optimizer`` the final update.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024.
    """
    return lookbehind(
        asam_perturbation(rho, eta, mask),
        k,
        alpha,
        fast_optimizer=fast_optimizer,
        switch_minibatch=switch_minibatch,
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )
