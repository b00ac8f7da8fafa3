r"""C-MAML and Lookbehind-C-MAML: the meta loss of a step and the gradients taken of it.

C-MAML (Gupta et al., 2020) adapts the weights :math:`\phi_0` to the parts :math:`b_1 \dots b_k` of
the current batch and descends on the loss of the adapted weights on current and replayed examples
:math:`b_m`, differentiated through the adaptation (the Lookbehind paper's Algorithm 3):

.. math::
  \phi_i = \phi_{i-1} - \eta \nabla l(\phi_{i-1}, b_i), \qquad
  F(\phi_0) = \tfrac1k \sum_i L(\phi_i, b_m)

Lookbehind-C-MAML (Algorithm 4) takes the inner gradients at weights :math:`\phi'` that ascend by
SAM's perturbation from :math:`\phi'_0 = \phi_0`, and interpolates:

.. math::
  \phi'_i = \phi'_{i-1} + \rho \frac{g}{\lVert g \rVert}, \quad g = \nabla l(\phi'_{i-1}, b_i);
  \qquad \phi_i = \phi_{i-1} - \eta \nabla l(\phi'_i, b_i); \qquad
  F(\phi_0) = \tfrac1k \sum_i L(\phi_0 + \alpha (\phi_i - \phi_0), b_m)
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

import optax_lookbehind as ol

Loss = Callable[[optax.Params, Any], tuple[jax.Array, dict[str, jax.Array]]]
Params: TypeAlias = optax.Params


class MetaLearner(NamedTuple):
    """Options of a meta learner; the defaults are C-MAML as La-MAML's code has it.

    Attributes:
      inner_learning_rate: eta of the inner steps.
      k: number of inner steps; the batch of n examples is divided into parts of ceil(n / k).
      clip: bound on each element of an inner descent gradient.
      meta_loss: ``"mean"`` over the k adapted weights (La-MAML's code), or ``"last"`` (its paper).
      first_order: whether the inner gradients are constants in the meta-gradient.
      rho: radius of the inner perturbations; None for none: C-MAML.
      alpha: interpolation of the adapted weights towards the initial ones, in (0, 1].
      ascent: where inner perturbations start from: ``"behind"``, the last perturbed weights, as in
        Lookbehind's Algorithm 1; ``"fixed"``, phi_0, as Algorithm 4 is printed; ``"fast"``, the
        adapted weights, so that rho -> 0 gives C-MAML.
      meta_step: gradient of a sharpness-aware meta step at perturbed weights: ``"adapted"``, of F
        at phi_0 + e, SAM on the meta loss; ``"slow"``, of the plain loss at phi_0 + e, as
        Algorithm 4 is printed; ``"fast"``, of F with e added to the adapted weights. (``"plain"``:
        there is no such step.)
    """

    inner_learning_rate: float
    k: int = 5
    clip: float = 2.0
    meta_loss: str = "mean"
    first_order: bool = False
    rho: float | None = None
    alpha: float = 1.0
    ascent: str = "behind"
    meta_step: str = "adapted"


def divide(batch: Any, k: int) -> list[Any]:
    """The batch in k parts of ceil(n / k) examples, the last one smaller if k does not divide n.

    Raises:
      ValueError: if there are fewer than k such parts.
    """
    count = len(jax.tree.leaves(batch)[0])
    size = -(-count // k)
    starts = range(0, count, size)
    if len(starts) != k:
        raise ValueError(
            "k must divide the batch into k parts of ceil(batch_size / k) examples, of which only "
            f"the last may be smaller, but none empty; got k={k} for a batch_size of {count}."
        )
    return [jax.tree.map(lambda x: x[start : start + size], batch) for start in starts]


def adapted_weights(
    learner: MetaLearner, loss: Loss, params: Params, parts: Sequence[Any]
) -> Iterator[Params]:
    """The interpolated weights after each inner step.

    The steps are not in a ``lax.scan``: on a CPU XLA would run the convolutions of the
    meta-gradient many times slower inside one.
    """
    gradient = jax.grad(lambda params, part: loss(params, part)[0])
    fast = behind = params
    for part in parts:
        if learner.rho is None:
            descent_weights = fast
        else:
            start = {"behind": behind, "fixed": params, "fast": fast}[learner.ascent]
            e = _perturbation(learner.rho, gradient(start, part), start)
            descent_weights = behind = optax.tree.add(start, e)
        grads = optax.tree.clip(gradient(descent_weights, part), -learner.clip, learner.clip)
        if learner.first_order:
            grads = jax.lax.stop_gradient(grads)
        # phi_i = phi_{i-1} - eta * g
        fast = optax.tree.add_scale(fast, -learner.inner_learning_rate, grads)
        # phi_0 + alpha (phi_i - phi_0)
        yield optax.tree.add_scale(params, learner.alpha, optax.tree.sub(fast, params))


def _perturbation(rho: float, grads: optax.Updates, params: Params) -> Params:
    """SAM's e, a constant in the meta-gradient: d(g / |g|) is unstable where g is small."""
    sam = ol.sam_perturbation(rho)
    e, _ = sam.update(grads, sam.init(params), params)
    return jax.lax.stop_gradient(e)


def meta_loss(
    learner: MetaLearner,
    loss: Loss,
    params: Params,
    parts: Sequence[Any],
    meta_batch: Any,
    offset: Params | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """F at ``params``, with the metrics of the last adapted weights.

    Args:
      learner: the options.
      loss: ``(params, examples) -> (mean loss, metrics)``.
      params: phi_0.
      parts: the examples of each inner step.
      meta_batch: current and replayed examples.
      offset: added to all adapted weights; default None: nothing.
    """
    adapted = list(adapted_weights(learner, loss, params, parts))
    if learner.meta_loss == "last":
        adapted = adapted[-1:]
    if offset is not None:
        adapted = [optax.tree.add(weights, offset) for weights in adapted]
    losses, metrics = zip(*(loss(weights, meta_batch) for weights in adapted), strict=True)
    return jnp.mean(jnp.stack(losses)), metrics[-1]


def perturbed_meta_gradient(
    learner: MetaLearner,
    loss: Loss,
    params: Params,
    parts: Sequence[Any],
    meta_batch: Any,
) -> Callable[[Params, jax.Array], optax.Updates]:
    """The ``grad_fn`` of a sharpness-aware meta step from ``params``: ``meta_step`` chooses."""

    def adapted(perturbed: Params, i: jax.Array) -> optax.Updates:
        del i  # every inner step of the method stays on this batch
        return jax.grad(
            lambda params: meta_loss(learner, loss, params, parts, meta_batch), has_aux=True
        )(perturbed)[0]

    def slow(perturbed: Params, i: jax.Array) -> optax.Updates:
        del i
        return jax.grad(lambda params: loss(params, meta_batch), has_aux=True)(perturbed)[0]

    def fast(perturbed: Params, i: jax.Array) -> optax.Updates:
        del i
        e = optax.tree.sub(perturbed, params)
        return jax.grad(
            lambda params: meta_loss(learner, loss, params, parts, meta_batch, e), has_aux=True
        )(params)[0]

    return {"slow": slow, "fast": fast}.get(learner.meta_step, adapted)
