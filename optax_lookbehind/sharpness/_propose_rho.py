"""A radius from the rise of the loss along the ascent, in place of a search."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import check_count, check_positive, is_traced
from optax_lookbehind._core.cpu_convolutions import call_in_loop
from optax_lookbehind._core.tree import dot, scalar_dtype
from optax_lookbehind._core.types import LossFn
from optax_lookbehind.sharpness._batches import (
    check_batches,
    check_minibatch_axis,
    mean_over_batches,
)
from optax_lookbehind.sharpness._m_sharpness import Rule, m_sharpness, rule_of

_FACTORS = tuple(2.0**j for j in range(-3, 3))  # of the first-order radius


class RhoProposal(NamedTuple):
    """Result of :func:`propose_rho`, float32 or wider.

    Attributes:
      rho: the proposed radius of one ascent step, scalar.
      radii: the distances that were tried, ascending, shape (6,).
      rises: the rise of the loss at each, a mean over the minibatches, shape (6,).
      first_order: the rise that the first-order model predicts at each, shape (6,). Where
        ``rises`` is far from it, the model that SAM maximizes has ended.
      loss: the loss at the weights, scalar.
    """

    rho: jax.Array
    radii: jax.Array
    rises: jax.Array
    first_order: jax.Array
    loss: jax.Array


def propose_rho(
    loss_fn: LossFn,
    params: optax.Params,
    batches: Any,
    *,
    perturbation: str | Rule = "sam",
    k: int = 1,
    rise: float = 0.1,
) -> RhoProposal:
    r"""Proposes rho: the radius at which the ascent raises the minibatch loss by ``rise``.

    Train a first epoch, or some 50 to 200 steps, with the optimizer alone, and write::

      rho = sharpness.propose_rho(loss_fn, params, minibatches((x, y), batch_size)).rho
      tx = optax.chain(sam(float(rho)), optax.sgd(learning_rate))

    .. math::
      \frac{1}{|\mathcal{B}|} \sum_{B \in \mathcal{B}} L_B(w + e_B(r)) - L_B(w) = \mathrm{rise},
      \qquad \rho = r / k

    with the ascent step :math:`e_B(r)` of length r along the gradient of minibatch B. The first
    estimate is that of the first-order model, ``rise / <g, e(1)>``; from an eighth to four times of
    it the loss is evaluated in factors of 2, and r interpolated between the two radii around the
    crossing (in logarithms). If the loss rises by less than half of what the first-order model says
    before it has risen by ``rise``, r is the last radius before. The reasons are in the result.

    ``rise`` is in the units of the loss: nats of a cross-entropy, or the squared error of targets
    with variance 1. Its default was chosen on four tasks, on which the proposal was then compared
    with a search: `docs/tuning.md` has what it loses. **It is a starting point, on the careful
    side**: the best radius was up to several times larger where a network overfits badly, and no
    measurement at the start of training has shown that. Keep the proposal, try twice and four times
    of it, and choose by a held-out score if it matters.

    The cost is two gradients and six losses a minibatch: of three minibatches that of about 12
    gradients.

    Args:
      loss_fn: ``(params, batch) -> scalar``, the mean loss of a minibatch, as in training: with
        BatchNorm in training mode.
      params: the weights, after some training: at the initial ones the rise says little.
      batches: a few minibatches, arrays of shape (num_batches, batch_size, ...), with the batch
        size of training: the gradient of a smaller one is longer, and its loss rises faster.
      perturbation: ``"sam"``, ``"asam"`` (``eta`` = 0.01, no mask), or a function from a radius to
        a perturbation rule that is linear in the radius.
      k: number of ascent steps of the method, >= 1: the proposal for :func:`multistep` and
        :func:`lookbehind` is r / k, so that k steps reach as far.
      rise: the rise of the loss to reach, > 0.

    Returns:
      A :class:`RhoProposal`; ``rho`` is NaN if the loss is.

    Raises:
      ValueError: if the gradient is zero, ``rise`` is not a finite number > 0, ``k`` is not an
        integer >= 1, or ``perturbation`` and ``batches`` are not as in :func:`m_sharpness`.

    References:
      The budget for the rise is that of Wang et al., `LE-SAM <https://arxiv.org/abs/2605.10183>`_,
      ICML 2026, to first order and in every step: :func:`budget_perturbation`.
    """
    check_batches(batches)
    check_minibatch_axis(batches)
    check_positive("rise", rise)
    k = check_count("k", k)
    loss, slope = _loss_and_slope(loss_fn, params, batches, rule_of(perturbation))
    if not is_traced(slope) and slope == 0:
        raise ValueError(
            "params must be weights at which the gradient is not zero, got a gradient of zero: no "
            "radius raises the loss."
        )
    radii = rise / slope * jnp.asarray(_FACTORS, slope.dtype)
    rises = m_sharpness(loss_fn, params, batches, radii, perturbation)
    first_order = slope * radii
    rho = jnp.where(jnp.isnan(loss), jnp.nan, _crossing(radii, rises, first_order, rise) / k)
    return RhoProposal(rho, radii, rises, first_order, loss)


@functools.partial(jax.jit, static_argnames=("loss_fn", "rule"))
def _loss_and_slope(
    loss_fn: LossFn, params: optax.Params, batches: Any, rule: Rule
) -> tuple[jax.Array, jax.Array]:
    """The loss, and its first-order rise at radius 1: ``<g, e(1)>``, which is ``|g|`` for SAM."""
    transformation = rule(jnp.ones((), scalar_dtype(params)))

    def at(batch: Any) -> tuple[jax.Array, jax.Array]:
        loss, grads = call_in_loop(jax.value_and_grad(loss_fn), params, batch)
        e, _ = transformation.update(grads, transformation.init(params), params)
        return loss, dot(grads, e)

    return mean_over_batches(at, batches)


def _crossing(radii: jax.Array, rises: jax.Array, first_order: jax.Array, rise: float) -> jax.Array:
    """The radius at which ``rises`` crosses ``rise``, or the last one of the first-order model."""
    crossed = ~(rises < rise)  # infinite or NaN, too
    ended = rises < first_order / 2
    # At twice the first-order radius one of the two holds.
    stop = jnp.argmax(crossed | ended)
    before = jnp.maximum(stop - 1, 0)
    x, y = jnp.log(radii), jnp.log(jnp.maximum(rises, jnp.finfo(rises.dtype).tiny))
    y = jnp.where(jnp.isnan(y), jnp.inf, y)
    share = (jnp.log(rise) - y[before]) / jnp.where(stop == before, 1, y[stop] - y[before])
    between = jnp.exp(x[before] + jnp.clip(share, 0, 1) * (x[stop] - x[before]))
    return jnp.where(crossed[stop], between, radii[before])
