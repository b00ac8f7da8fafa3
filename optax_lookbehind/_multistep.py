"""SAM, ASAM and their multistep forms: descend along the gradient at the perturbed weights."""

from typing import Any, NamedTuple

import jax
import optax

from optax_lookbehind._arguments import (
    check_count,
    check_devices,
    check_flag,
    check_transformation,
)
from optax_lookbehind._ascent import GradFn, ascend, fast_params, next_state, pose
from optax_lookbehind._devices import AxisName
from optax_lookbehind._perturbation import Mask, asam_perturbation, sam_perturbation
from optax_lookbehind._tree import accumulable


class MultistepState(NamedTuple):
    """State of :func:`multistep`.

    Attributes:
      perturbation_state: state of the perturbation rule.
    """

    perturbation_state: optax.OptState


def multistep(
    perturbation: optax.GradientTransformation,
    k: int = 1,
    *,
    average: bool = False,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""Replaces the gradient by the one found after ``k`` ascent steps.

    .. math::
      p_0 = w, \qquad p_i = p_{i-1} + e(g_{i-1}), \qquad g_i = \nabla L(p_i)

    and emits :math:`g_k`, or with ``average`` the mean of :math:`g_1 \dots g_k`. ``k=1`` is SAM.
    It goes in front of any Optax optimizer. Change this::

      tx = optax.sgd(0.1)
      ...
      updates, state = tx.update(grads, state, params)

    To::

      tx = optax.chain(multistep(sam_perturbation(rho=0.05), k=2), optax.sgd(0.1))
      ...
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    where ``grad_fn(params, i)`` returns the gradient of the loss at ``params``; ``i``, an int32
    scalar from 0, is the inner step: ignore it to stay on one minibatch. ``grads`` is
    ``grad_fn(params, 0)``: loss, metrics and BatchNorm statistics stay those of this clean pass,
    and those of the perturbed passes are discarded.

    A step costs ``k + 1`` gradients, the caller's included.

    Args:
      perturbation: gradient to perturbation, :func:`sam_perturbation` for instance.
      k: number of ascent steps, >= 1.
      average: whether to emit the mean of the perturbed gradients instead of the last.
      axis_name: the mapped axis under ``jax.shard_map``, ``jax.pmap`` or ``jax.vmap`` over which
        gradients are averaged; None where one program sees the whole batch.
      sync_perturbation: whether the ascent, too, follows the averaged gradient. False perturbs each
        device on its own batch (m-sharpness) and saves one all-reduce.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits a gradient in the dtypes of the
      one it gets.

    Raises:
      ValueError: if ``k`` is not an integer >= 1; in ``update`` if ``params`` or ``grad_fn`` is
        missing, or a gradient does not have the structure and shapes of ``params``.

    References:
      Foret et al., `Sharpness-Aware Minimization <https://arxiv.org/abs/2010.01412>`_, 2021;
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, 2024, section 2
      (Multistep-SAM).
    """
    check_transformation("perturbation", perturbation)
    k = check_count("k", k)
    check_flag("average", average)
    check_devices(axis_name, sync_perturbation)

    def init_fn(params: optax.Params) -> MultistepState:
        return MultistepState(perturbation.init(fast_params(params)))

    def update_fn(
        updates: optax.Updates,
        state: MultistepState,
        params: optax.Params | None = None,
        *,
        grad_fn: GradFn | None = None,
        sharpness_aware: bool = True,
        **extra_args: Any,
    ) -> tuple[optax.Updates, MultistepState]:
        if not sharpness_aware:  # a policy's plain step
            at = fast_params(params)
            return updates, MultistepState(
                next_state(perturbation, state.perturbation_state, updates, at)
            )
        problem = pose(updates, params, grad_fn, axis_name, sync_perturbation, extra_args)

        def add(total: Any, grads: optax.Updates, i: jax.Array) -> Any:
            del i
            if not average:
                return total
            return optax.tree.cast_like(optax.tree.add(total, problem.descent(grads)), total)

        total = optax.tree.zeros_like(accumulable(fast_params(params))) if average else None
        last, total, perturbation_state = ascend(
            perturbation, state.perturbation_state, problem, k, add, total
        )
        grads = optax.tree.scale(1 / k, total) if average else problem.descent(last)
        return optax.tree.cast_like(grads, updates), MultistepState(perturbation_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def sam(
    rho: optax.ScalarOrSchedule,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Sharpness-aware minimization: the gradient at the worst point within ``rho``. 2 gradients.

    ``multistep(sam_perturbation(rho))``: see :func:`multistep` for the call and
    :func:`sam_perturbation` for ``rho``. The papers use ``rho=0.05`` on CIFAR.

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
    :func:`asam_perturbation` for the rest. The papers use ``rho=0.5`` on CIFAR.

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
    """
    return multistep(
        asam_perturbation(rho, eta, mask),
        k,
        average=average,
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )
