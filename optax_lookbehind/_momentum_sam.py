"""Momentum-SAM: a perturbation against the optimizer's momentum, at one gradient per step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import at_step, check_non_negative, check_positive
from optax_lookbehind._core.gradient_checks import check_like
from optax_lookbehind._core.tree import add, as_accumulator, divide, norm, scalar_dtype, scale, sub

_NO_MOMENTUM = """\
optimizer must keep exactly one momentum of the weights in its state, the trace of \
optax.sgd(learning_rate, momentum=0.9) or the mu of optax.adam(learning_rate); its state has \
{number}."""


class MomentumSAMState(NamedTuple):
    """State of :func:`momentum_sam`.

    Attributes:
      step: number of training steps taken, int32, for a scheduled rho.
      scale: :math:`\\rho / \\lVert v \\rVert`; the weights are now perturbed by ``-scale * v``.
      optimizer_state: state of the optimizer, v in it.
    """

    step: jax.Array
    scale: jax.Array
    optimizer_state: optax.OptState


def momentum_sam(
    optimizer: optax.GradientTransformation, rho: optax.ScalarOrSchedule
) -> optax.GradientTransformationExtraArgs:
    r"""Trains weights perturbed against the momentum (Momentum-SAM): one gradient per step.

    .. math::
      g = \nabla L(w + e), \qquad w \leftarrow w + u(g), \qquad
      e \leftarrow -\rho \, v / \lVert v \rVert

    with u the optimizer's update and v its momentum: the trace of ``optax.sgd``, the first moment
    of ``optax.adam``. The perturbation points further along the last update, where the loss rises
    if that update was too long. The ``params`` of the training loop are the perturbed weights
    w + e; change this::

      tx = optax.sgd(0.1, momentum=0.9)
      ...
      accuracy = evaluate(params)

    To::

      tx = momentum_sam(optax.sgd(0.1, momentum=0.9), rho=0.3)
      ...
      accuracy = evaluate(momentum_sam_eval_params(state, params))

    and save those weights for other programs, too. No ``grad_fn`` is needed, and nothing is
    averaged over devices: pass the averaged gradient, as to any optimizer. BatchNorm statistics are
    those of the perturbed weights. Weight decay inside the optimizer sees the weights w without the
    perturbation (the authors' SGD decays w + e). The state holds two scalars besides the
    optimizer's.

    Keep the weights in float32. w is w + e less e, so that its rounding errors add up: with weights
    of size 1 and e of 0.03 per weight, 1,000 steps that learn nothing move a weight by up to 0.3 in
    bfloat16, and by 1e-5 in float32.

    No edge of the form of :func:`~optax_lookbehind.sharpness.response`: it is at
    :math:`l (\eta + 2 \rho / \lVert v \rVert) = 2 (1 + \beta)`.

    Args:
      optimizer: an Optax optimizer with momentum, complete: nothing is chained behind
        :func:`momentum_sam`.
      rho: length of the perturbation, > 0, in the units of the weights; or an Optax schedule of the
        training step, which may be 0: the authors' Vision Transformers need rho = 0 during the
        warm-up. The authors use 0.3 to 3 with SGD and 1 with AdamW.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` that emits the final update of w + e.

    Raises:
      ValueError: if ``rho`` is not a finite number > 0; in ``init`` if the optimizer does not keep
        exactly one momentum; in ``update`` if ``params`` are missing.

    References:
      Becker et al., `Momentum-SAM: Sharpness Aware Minimization without Computational Overhead
      <https://arxiv.org/abs/2401.12033>`_, NeurIPS 2025, Algorithm 1; the authors' code,
      https://github.com/MarlonBecker/MSAM.
    """
    check_positive("rho", rho, schedule=True)
    optimizer = optax.with_extra_args_support(optimizer)

    def init_fn(params: optax.Params) -> MomentumSAMState:
        optimizer_state = optimizer.init(params)
        check_like(params, "the momentum of optimizer", _momentum(optimizer_state))
        return MomentumSAMState(
            jnp.zeros([], jnp.int32), jnp.zeros([], scalar_dtype(params)), optimizer_state
        )

    def update_fn(
        updates: optax.Updates,
        state: MomentumSAMState,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, MomentumSAMState]:
        if params is None:
            raise ValueError("momentum_sam needs params: call update(grads, state, params).")
        w = momentum_sam_eval_params(state, params)  # params are w + e
        u, optimizer_state = optimizer.update(updates, state.optimizer_state, w, **extra_args)
        rho_t = at_step("rho", rho, state.step, check_non_negative)
        # rho / |v| with the new momentum v, so that the next e = -rho v / |v|.
        factor = scale(rho_t, divide(1, norm(_momentum(optimizer_state))))
        new_state = MomentumSAMState(
            optax.safe_increment(state.step), factor.astype(state.scale.dtype), optimizer_state
        )
        # The update of w + e: u, plus the new perturbation, minus the old one.
        moved = add(as_accumulator(u), _perturbation(new_state))
        moved = sub(moved, _perturbation(state))
        return optax.tree.cast_like(moved, updates), new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def momentum_sam_eval_params(state: optax.OptState, params: optax.Params) -> optax.Params:
    """The weights without the perturbation of :func:`momentum_sam`, to evaluate and to save.

    Args:
      state: the optimizer state, in which the state of :func:`momentum_sam` may be nested.
      params: the weights of the training loop.

    Returns:
      The weights w; ``params`` are w + e.

    Raises:
      ValueError: if ``state`` holds no state of :func:`momentum_sam`, or several.
    """
    is_ours = lambda part: isinstance(part, MomentumSAMState)  # noqa: E731
    found = [part for part in jax.tree.leaves(state, is_leaf=is_ours) if is_ours(part)]
    if len(found) != 1:
        raise ValueError(
            "state must hold exactly one MomentumSAMState, as momentum_sam(...).init(params) "
            f"returns it; got {len(found)} in a {type(state).__name__}."
        )
    w = sub(as_accumulator(params), _perturbation(found[0]))
    return optax.tree.cast_like(w, params)


def _perturbation(state: MomentumSAMState) -> optax.Updates:
    """``e = -rho v / |v|``."""
    return scale(-state.scale, as_accumulator(_momentum(state.optimizer_state)))


def _momentum(optimizer_state: optax.OptState) -> optax.Updates:
    """The momentum v in the state of SGD (``trace``) or of Adam and its variants (``mu``)."""

    def names(part: Any) -> list[str]:
        return [name for name in ("trace", "mu") if name in getattr(part, "_fields", ())]

    parts = jax.tree.leaves(optimizer_state, is_leaf=lambda part: bool(names(part)))
    found = [getattr(part, name) for part in parts for name in names(part)]
    if len(found) != 1:
        raise ValueError(_NO_MOMENTUM.format(number=len(found)))
    return found[0]
