"""Perturbation rules: from the gradient to the step e that climbs to a sharper neighbour."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optax_lookbehind._arguments import check_scalar
from optax_lookbehind._tree import divide, norm

Mask = Any | Callable[[optax.Params], Any]


def sam_perturbation(rho: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    r"""SAM's perturbation: a step of length ``rho`` along the gradient.

    .. math:: e = \rho \, \frac{g}{\lVert g \rVert_2}

    with the norm over the whole pytree. This is the first-order answer to "where within the ball
    of radius rho is the loss highest?". It is an ordinary Optax transformation from gradients to
    perturbations, to be *added* to the weights; :func:`multistep` and :func:`lookbehind` take it.

    Args:
      rho: radius of the ball, > 0, in the units of the weights; or an Optax schedule, which
        advances once per training step (not per inner ascent step).

    Returns:
      An :class:`optax.GradientTransformation`. A zero gradient gives a zero perturbation, a
      gradient with a NaN gives NaNs. The norm is accumulated in float32 or better.

    Raises:
      ValueError: if ``rho`` is not a finite number > 0.

    References:
      Foret et al., `Sharpness-Aware Minimization for Efficiently Improving Generalization
      <https://arxiv.org/abs/2010.01412>`_, 2021, equation 2.
    """
    check_scalar("rho", rho, 0, jnp.inf, "()", schedule=True)

    def direction(grads: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        return _over(norm(grads), grads)

    return optax.chain(optax.stateless(direction), _times(rho))


def asam_perturbation(
    rho: optax.ScalarOrSchedule, eta: float = 0.01, mask: Mask | None = None
) -> optax.GradientTransformation:
    r"""ASAM's perturbation: SAM's in coordinates scaled by the size of each weight.

    .. math:: e = \rho \, \frac{T^2 g}{\lVert T g \rVert_2}, \qquad T = |w| + \eta

    ``w`` are the weights at which ``g`` was taken: inside the inner loop, the perturbed ones. The
    ball is invariant to rescaling weights, so ``rho`` is about ten times SAM's.

    Args:
      rho: radius of the ball in the scaled coordinates, > 0; or an Optax schedule, which advances
        once per training step.
      eta: added to ``|w|`` so that weights at zero can move, >= 0.
      mask: a pytree of bools like the weights (or a prefix of it), or a callable from weights to
        one, as in :func:`optax.masked`; where False, ``T = 1``. The official code of both papers
        leaves biases unscaled, ``mask=lambda w: jax.tree.map(lambda x: x.ndim > 1, w)`` is close
        to it; ``None``, the default, scales every weight, as the paper has it. (A callable needs
        ``static_args=("mask",)`` under :func:`optax.inject_hyperparams`.)

    Returns:
      An :class:`optax.GradientTransformation` whose ``update`` needs ``params``. Zero gradients,
      NaNs and norms as in :func:`sam_perturbation`.

    Raises:
      ValueError: if ``rho`` is not a finite number > 0, ``eta`` not one >= 0, or ``params`` are
        missing in ``update``.

    References:
      Kwon et al., `ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of
      Deep Neural Networks <https://arxiv.org/abs/2102.11600>`_, 2021, section 4.
    """
    check_scalar("rho", rho, 0, jnp.inf, "()", schedule=True)
    check_scalar("eta", eta, 0, jnp.inf, "[)")

    def direction(grads: optax.Updates, params: optax.Params | None) -> optax.Updates:
        if params is None:
            raise ValueError("asam_perturbation needs params: call update(grads, state, params).")
        scale = _scale(params, eta, mask)
        scaled = optax.tree.mul(scale, grads)
        stretched = optax.tree.mul(scale, scaled)
        return optax.tree.cast_like(_over(norm(scaled), stretched), grads)

    return optax.chain(optax.stateless(direction), _times(rho))


def _scale(params: optax.Params, eta: float, mask: Mask | None) -> Any:
    """ASAM's ``T``: ``|w| + eta``, or 1 where the mask says False."""
    if callable(mask):
        mask = mask(params)
    if mask is None:
        mask = True
    _check_mask(mask, params)
    return jax.tree.map(
        lambda scaled, subtree: jax.tree.map(
            lambda w: jnp.abs(w) + eta if scaled else jnp.ones_like(w), subtree
        ),
        mask,
        params,
    )


def _check_mask(mask: Any, params: optax.Params) -> None:
    wrong = [leaf for leaf in jax.tree.leaves(mask) if not isinstance(leaf, (bool, np.bool_))]
    try:
        jax.tree.map(lambda scaled, subtree: None, mask, params)
    except ValueError:
        wrong = [mask]
    if wrong:
        raise ValueError(
            "mask must be a pytree of bools with the structure of params or a prefix of it, or a "
            f"callable from params to one; got {wrong[0]!r}. (Under optax.inject_hyperparams a "
            'callable mask needs static_args=("mask",).)'
        )


def _over(length: jax.Array, grads: optax.Updates) -> optax.Updates:
    """``grads / length`` in the dtypes of ``grads``; zero where the length is."""
    return optax.tree.cast_like(optax.tree.scale(divide(1, length), grads), grads)


def _times(rho: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """Multiplication by a scalar or an Optax schedule."""
    return optax.scale_by_learning_rate(rho, flip_sign=False)
