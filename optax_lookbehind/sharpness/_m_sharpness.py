"""m-sharpness: the rise of the minibatch loss within a ball around the weights."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import check_count, check_positive
from optax_lookbehind._core.cpu_convolutions import call_in_loop
from optax_lookbehind._core.tree import as_accumulator, divide, dot, scalar_dtype
from optax_lookbehind._core.types import LossFn
from optax_lookbehind._perturbations import asam_perturbation, sam_perturbation
from optax_lookbehind.sharpness._batches import (
    as_vector,
    check_batches,
    check_minibatch_axis,
    mean_over_batches,
)

Rule = Callable[[jax.Array], optax.GradientTransformation]
_RULES: dict[str, Rule] = {"sam": sam_perturbation, "asam": asam_perturbation}


def m_sharpness(
    loss_fn: LossFn,
    params: optax.Params,
    batches: Any,
    radii: Any,
    perturbation: str | Rule = "sam",
    steps: int = 1,
) -> jax.Array:
    r"""Largest increase of the minibatch loss within each radius, averaged over minibatches.

    .. math::
      \frac{1}{|\mathcal{B}|} \sum_{B \in \mathcal{B}} \;
      \max_{\lVert T_w^{-1} e \rVert_2 \le r} L_B(w + e) - L_B(w)

    with :math:`T_w = 1` for SAM's ball and :math:`T_w = |w| + \eta` for ASAM's. Low values over a
    range of radii mean a flat minimum. Compare models at the same minibatch size m, the same ball
    and similar losses; ASAM's ball also compares networks whose weights differ in scale.

    The maximum is estimated from below by ``steps`` steps of length r along the perturbation rule,
    each projected back onto the ball, as the highest loss after a step. One step, the default, is
    the first-order approximation that SAM trains against; it is negative if the loss is lower at
    distance r than at the weights.

    The cost is ``1 + (steps - 1) * len(radii)`` gradients and ``len(radii)`` losses per minibatch.

    Args:
      loss_fn: ``(params, batch) -> scalar``, the mean loss of a minibatch. It decides in which mode
        BatchNorm runs, which the papers do not state; usual is evaluation mode, with the
        statistics closed over.
      params: the weights w.
      batches: the minibatches, arrays of shape (num_batches, batch_size, ...), where batch_size is
        the m of m-sharpness: ``minibatches((x, y), m)``.
      radii: r, numbers > 0 in the units of the weights, shape (n,). They are an argument of the
        compiled program: new radii compile nothing.
      perturbation: ``"sam"``, ``"asam"`` (``eta`` = 0.01, no mask), or a function from a radius to
        a perturbation rule, such as ``functools.partial(asam_perturbation, eta=0.1)``. With several
        steps it must be linear in the gradient up to its length, as those two are with any mask.
      steps: number of ascent steps, >= 1.

    Returns:
      The sharpness for each radius, float32 or wider, shape (n,). NaN or infinite where a loss is.

    Raises:
      ValueError: if a radius is not a finite number > 0, ``perturbation`` is an unknown string,
        ``steps`` is not an integer >= 1, the arrays in ``batches`` disagree on the number of
        minibatches, or no two of them have the second axis in common, which is the case for arrays
        of examples instead of minibatches.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024, equations 5
      and 6; Foret et al., `Sharpness-Aware Minimization <https://arxiv.org/abs/2010.01412>`_, 2021,
      section 4.1 (m-sharpness).
    """
    check_batches(batches)
    check_minibatch_axis(batches)
    radii = as_vector("radii", radii, check_positive, scalar_dtype(params))
    steps = check_count("steps", steps)
    return _m_sharpness(loss_fn, params, batches, radii, rule_of(perturbation), steps)


def rule_of(perturbation: str | Rule) -> Rule:
    if isinstance(perturbation, str) and perturbation in _RULES:
        return _RULES[perturbation]
    if not callable(perturbation):
        raise ValueError(
            'perturbation must be "sam", "asam" or a function from a radius to a perturbation '
            f"rule, got {perturbation!r}."
        )
    return perturbation


@functools.partial(jax.jit, static_argnames=("loss_fn", "rule", "steps"))
def _m_sharpness(
    loss_fn: LossFn, params: optax.Params, batches: Any, radii: jax.Array, rule: Rule, steps: int
) -> jax.Array:
    def increases(batch: Any) -> jax.Array:
        loss, grads = _loss_and_grads(loss_fn, params, batch)
        highest = functools.partial(_highest_loss, loss_fn, params, batch, grads, rule, steps)
        return jax.lax.map(highest, radii) - loss

    return mean_over_batches(increases, batches)


def _loss_and_grads(
    loss_fn: LossFn, params: optax.Params, batch: Any
) -> tuple[jax.Array, optax.Updates]:
    loss, grads = call_in_loop(jax.value_and_grad(loss_fn), params, batch)
    return as_accumulator(loss), grads


class _BallPoint(NamedTuple):
    """A point of the ball.

    Attributes:
      e: displacement from the weights at the centre.
      dual: the combination of gradients that the rule turned into ``e``. Rules have the form
        ``e = T^2 g``, up to the length, so that ``|T^-1 e|^2 = <dual, e>``: the norm of the ball,
        without knowing ``T`` and without dividing by it.
    """

    e: Any
    dual: Any


def _highest_loss(
    loss_fn: LossFn,
    params: optax.Params,
    batch: Any,
    grads: optax.Updates,
    rule: Rule,
    steps: int,
    radius: jax.Array,
) -> jax.Array:
    """The highest loss over ``steps`` steps of projected ascent, the first along ``grads``."""
    transformation = rule(radius)
    # The rule sees the weights at the centre, not those reached: the ball stays the same.
    state = transformation.init(params)

    def projected_step(point: _BallPoint, grads: optax.Updates) -> _BallPoint:
        step, _ = transformation.update(grads, state, params)
        step, grads = as_accumulator(step), as_accumulator(grads)
        dual = optax.tree.scale(divide(radius**2, dot(grads, step)), grads)
        moved = _BallPoint(optax.tree.add(point.e, step), optax.tree.add(point.dual, dual))
        return optax.tree.cast_like(_project(moved, radius), point)

    def scan_body(carry: Any, _: None) -> tuple[Any, None]:
        point, grads, highest = carry
        point = projected_step(point, grads)
        loss, grads = _loss_and_grads(loss_fn, optax.apply_updates(params, point.e), batch)
        return (point, grads, jnp.maximum(highest, loss)), None

    zero = optax.tree.zeros_like(as_accumulator(params))
    lowest = jnp.full((), -jnp.inf, jax.eval_shape(lambda: _loss(loss_fn, params, batch)).dtype)
    first = (_BallPoint(zero, zero), grads, lowest)
    (point, grads, highest), _ = jax.lax.scan(scan_body, first, length=steps - 1)
    # The last point needs no gradient.
    last = projected_step(point, grads)
    loss = _loss(loss_fn, optax.apply_updates(params, last.e), batch)
    return jnp.maximum(highest, loss)


def _loss(loss_fn: LossFn, params: optax.Params, batch: Any) -> jax.Array:
    return as_accumulator(call_in_loop(loss_fn, params, batch))


def _project(point: _BallPoint, radius: jax.Array) -> _BallPoint:
    """The closest point of the ball, in the ball's own norm."""
    length = jnp.sqrt(dot(point.dual, point.e))
    factor = jnp.where(length > radius, radius / length, 1)
    return optax.tree.scale(factor, point)
