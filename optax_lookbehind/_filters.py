"""Filters: change the gradient that a perturbation rule gets, to perturb along another direction.

A filter is an Optax transformation in front of a rule, ``optax.chain(filter, rule)``: only the
ascent follows its output, the weights still descend along the gradient at the perturbed weights.
Its average advances once per training step, with the gradient at the weights averaged over the
devices; all ascent steps of a training step use the same one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import check_fraction, check_non_negative
from optax_lookbehind._core.tree import add_scale, as_accumulator, standard_promotion


class FilterState(NamedTuple):
    """State of :func:`friendly_filter` and :func:`vasso_filter`.

    Attributes:
      started: whether ``mean`` holds a gradient yet.
      mean: the running mean of gradients, like the weights, in float32 or wider.
    """

    started: jax.Array
    mean: optax.Updates


def friendly_filter(sigma: float = 1.0, decay: float = 0.9) -> optax.GradientTransformation:
    r"""Subtracts the running mean of gradients: Friendly SAM's perturbation direction.

    .. math::
      d_t = g_t - \sigma m_{t-1}, \qquad m_t = \lambda m_{t-1} + (1 - \lambda) g_t

    with :math:`d_0 = m_0 = g_0`. What is left of a minibatch's gradient is mostly its noise: the
    ascent raises the loss of this minibatch and hardly that of the whole dataset. In front of any
    rule, under any loop or policy, change this::

      multistep(asam_perturbation(rho=0.5))

    To::

      multistep(optax.chain(friendly_filter(), asam_perturbation(rho=0.5)))

    The mean starts at the first gradient and :math:`d_t` uses the mean before :math:`g_t` enters
    it, as in the authors' code; the paper's equations add :math:`g_t` first, which is the same
    direction for :math:`\sigma = 1`. With gradients that do not change from step to step d vanishes
    and its direction is rounding noise: use it with minibatches.

    Args:
      sigma: fraction of the mean that is subtracted, >= 0. 0 leaves the gradient as it is.
      decay: :math:`\lambda`, decay rate of the mean, in [0, 1). The authors' code has 0.9, and 0.6
        or 0.95 for some models.

    Returns:
      An :class:`optax.GradientTransformation`; its state holds one copy of the weights.

    Raises:
      ValueError: if ``sigma`` is not a finite number >= 0 or ``decay`` is outside [0, 1).

    References:
      Li et al., `Friendly Sharpness-Aware Minimization <https://arxiv.org/abs/2403.12350>`_, CVPR
      2024; the authors' code, https://github.com/nblt/F-SAM.
    """
    check_non_negative("sigma", sigma)
    check_fraction("decay", decay, one=False)

    def update_fn(
        updates: optax.Updates, state: FilterState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, FilterState]:
        del params
        # d_t = g_t - sigma m_{t-1}. The mean starts as zeros, so that d_0 = g_0.
        direction = add_scale(as_accumulator(updates), -sigma, state.mean)
        return optax.tree.cast_like(direction, updates), _advance(state, updates, 1 - decay)

    return optax.GradientTransformation(_init_filter, update_fn)


def vasso_filter(theta: float = 0.9) -> optax.GradientTransformation:
    r"""Replaces the gradient with its running mean: VaSSO's perturbation direction.

    .. math:: d_t = (1 - \theta) d_{t-1} + \theta g_t, \qquad d_0 = g_0

    The mean suppresses the noise of the minibatch in the direction of the ascent (Friendly SAM does
    the opposite on the same statistic). In front of any rule, under any loop or policy, change
    this::

      multistep(asam_perturbation(rho=0.5))

    To::

      multistep(optax.chain(vasso_filter(theta=0.4), asam_perturbation(rho=0.5)))

    This is not ``optax.ema``, whose mean starts at zero and so weights the first gradients
    differently.

    Args:
      theta: weight of the new gradient, in (0, 1]. The authors' code has 0.9, so that the previous
        mean keeps a weight of 0.1; 1 leaves the gradient as it is.

    Returns:
      An :class:`optax.GradientTransformation`; its state holds one copy of the weights.

    Raises:
      ValueError: if ``theta`` is outside (0, 1].

    References:
      Li and Giannakis, `Enhancing Sharpness-Aware Optimization Through Variance Suppression
      <https://arxiv.org/abs/2309.15639>`_, NeurIPS 2023; the authors' code,
      https://github.com/BingcongLi/VaSSO.
    """
    check_fraction("theta", theta, zero=False)

    def update_fn(
        updates: optax.Updates, state: FilterState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, FilterState]:
        del params
        state = _advance(state, updates, theta)
        # d_t is the mean with g_t in it. What is not finite in g_t is not hidden by the mean, which
        # leaves it out.
        visible = lambda m, g: jnp.where(jnp.isfinite(g), m, g)  # noqa: E731
        direction = jax.tree.map(visible, state.mean, as_accumulator(updates))
        return optax.tree.cast_like(direction, updates), state

    return optax.GradientTransformation(_init_filter, update_fn)


def _init_filter(params: optax.Params) -> FilterState:
    return FilterState(
        started=jnp.zeros([], bool), mean=optax.tree.zeros_like(as_accumulator(params))
    )


@standard_promotion
def _advance(state: FilterState, grads: optax.Updates, weight: float) -> FilterState:
    """``mean <- (1 - weight) mean + weight g``; the first gradient itself at the start.

    Elements that are not finite do not enter the mean, which would never get rid of them.
    """
    w = jnp.where(state.started, weight, 1.0)
    mean = jax.tree.map(
        lambda m, g: jnp.where(jnp.isfinite(g), (1 - w) * m + w * g, m).astype(m.dtype),
        state.mean,
        as_accumulator(grads),
    )
    return FilterState(started=jnp.ones_like(state.started), mean=mean)
