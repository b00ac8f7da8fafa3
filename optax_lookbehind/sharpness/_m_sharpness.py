"""m-sharpness: how much the loss rises within a ball around the weights, per minibatch."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._arguments import check_count
from optax_lookbehind._core.cpu_convolutions import rewrite_cpu_convolutions
from optax_lookbehind._perturbation import asam_perturbation, sam_perturbation
from optax_lookbehind._tree import accumulable, divide, dot, scalar_dtype
from optax_lookbehind.sharpness._arguments import as_numbers, check_batches
from optax_lookbehind.sharpness._batches import LossFn, mean_over_batches

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
    r"""How much the loss of a minibatch rises at most within each radius, in the mean.

    .. math::
      \frac{1}{|\mathcal{B}|} \sum_{B \in \mathcal{B}} \;
      \max_{\lVert T_w^{-1} e \rVert_2 \le r} L_B(w + e) - L_B(w)

    with :math:`T_w = 1` for SAM's ball and :math:`T_w = |w| + \eta` for ASAM's. Low values over a
    range of radii mean a flat minimum. Compare models at the same minibatch size m, the same ball
    and similar losses; ASAM's ball also compares networks whose weights differ in scale.

    The maximum is approached from below by ``steps`` steps of length r along the perturbation rule,
    each projected back onto the ball; the highest loss met counts. One step, the default, is the
    first-order answer that SAM trains against and the papers report. It can be negative where the
    loss falls again before r.

    The cost is ``1 + (steps - 1) * len(radii)`` gradients and ``len(radii)`` losses a minibatch.

    Args:
      loss_fn: ``(params, batch) -> scalar``, the mean loss of a minibatch. It decides in which mode
        BatchNorm runs: the papers measure in evaluation mode, with the statistics closed over.
      params: the weights w.
      batches: the minibatches, arrays of shape (number, m, ...).
      radii: r, numbers > 0 in the units of the weights, shape (n,). They are an argument of the
        compiled program: new radii compile nothing.
      perturbation: ``"sam"``, ``"asam"`` (``eta`` = 0.01, no mask), or a function from a radius to
        a perturbation rule, such as ``functools.partial(asam_perturbation, eta=0.1)``. With several
        steps it must be linear in the gradient up to its length, as those two are with any mask.
      steps: number of ascent steps, >= 1.

    Returns:
      The sharpness for each radius, float32 or wider, shape (n,). NaN or infinite where a loss is.

    Raises:
      ValueError: if a radius is not a finite number > 0, ``perturbation`` an unknown word,
        ``steps`` not an integer >= 1, or the arrays in ``batches`` disagree on the number of
        minibatches.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024, equations 5
      and 6; Foret et al., `Sharpness-Aware Minimization <https://arxiv.org/abs/2010.01412>`_, 2021,
      section 4.1 (m-sharpness).
    """
    check_batches(batches)
    radii = as_numbers("radii", radii, 0, jnp.inf, "()", scalar_dtype(params))
    steps = check_count("steps", steps)
    return _m_sharpness(loss_fn, params, batches, radii, _rule(perturbation), steps)


def _rule(perturbation: str | Rule) -> Rule:
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
    loss, grads = rewrite_cpu_convolutions(jax.value_and_grad(loss_fn))(params, batch)
    return accumulable(loss), grads


class _Climber(NamedTuple):
    """A point of the ball.

    Attributes:
      e: its place, relative to the weights at the centre.
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
    """The highest loss that ``steps`` steps of projected ascent meet; ``grads`` begin it."""
    transformation = rule(radius)
    # The rule sees the weights at the centre, not those reached: the ball stays the same.
    state = transformation.init(params)

    def climb(at: _Climber, grads: optax.Updates) -> _Climber:
        step, _ = transformation.update(grads, state, params)
        step, grads = accumulable(step), accumulable(grads)
        dual = optax.tree.scale(divide(radius**2, dot(grads, step)), grads)
        moved = _Climber(optax.tree.add(at.e, step), optax.tree.add(at.dual, dual))
        return optax.tree.cast_like(_project(moved, radius), at)

    def ascend(carry: Any, _: None) -> tuple[Any, None]:
        at, grads, highest = carry
        at = climb(at, grads)
        loss, grads = _loss_and_grads(loss_fn, optax.apply_updates(params, at.e), batch)
        return (at, grads, jnp.maximum(highest, loss)), None

    zero = optax.tree.zeros_like(accumulable(params))
    lowest = jnp.full((), -jnp.inf, jax.eval_shape(lambda: _loss(loss_fn, params, batch)).dtype)
    first = (_Climber(zero, zero), grads, lowest)
    (at, grads, highest), _ = jax.lax.scan(ascend, first, length=steps - 1)
    # The last point needs no gradient.
    loss = _loss(loss_fn, optax.apply_updates(params, climb(at, grads).e), batch)
    return jnp.maximum(highest, loss)


def _loss(loss_fn: LossFn, params: optax.Params, batch: Any) -> jax.Array:
    return accumulable(rewrite_cpu_convolutions(loss_fn)(params, batch))


def _project(at: _Climber, radius: jax.Array) -> _Climber:
    """The closest point of the ball, in the ball's own norm."""
    length = jnp.sqrt(dot(at.dual, at.e))
    factor = jnp.where(length > radius, radius / length, 1)
    return optax.tree.scale(factor, at)
