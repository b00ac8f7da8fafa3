r"""C-MAML and Lookbehind-C-MAML: the meta loss of a step.

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

``docs/lifelong-learning.md`` has what the paper leaves open.
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
      rho: radius of the inner perturbations; None for none: C-MAML.
      alpha: interpolation of the adapted weights towards the initial ones, in (0, 1].
    """

    inner_learning_rate: float
    k: int = 5
    clip: float = 2.0
    rho: float | None = None
    alpha: float = 1.0


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
            # phi'_i = phi'_{i-1} + e
            e = _perturbation(learner.rho, gradient(behind, part), behind)
            descent_weights = behind = optax.tree.add(behind, e)
        grads = optax.tree.clip(gradient(descent_weights, part), -learner.clip, learner.clip)
        # phi_i = phi_{i-1} - eta g
        fast = optax.tree.add_scale(fast, -learner.inner_learning_rate, grads)
        # phi_0 + alpha (phi_i - phi_0)
        yield optax.tree.add_scale(params, learner.alpha, optax.tree.sub(fast, params))


def _perturbation(rho: float, grads: optax.Updates, params: Params) -> Params:
    """SAM's e, a constant in the meta-gradient: d(g / |g|) is unstable where g is small."""
    sam = ol.sam_perturbation(rho)
    e, _ = sam.update(grads, sam.init(params), params)
    return jax.lax.stop_gradient(e)


def meta_loss(
    learner: MetaLearner, loss: Loss, params: Params, parts: Sequence[Any], meta_batch: Any
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """F at ``params``, with the metrics of the last adapted weights.

    Args:
      learner: the options.
      loss: ``(params, examples) -> (mean loss, metrics)``.
      params: phi_0.
      parts: the examples of each inner step.
      meta_batch: current and replayed examples.
    """
    adapted = adapted_weights(learner, loss, params, parts)
    losses, metrics = zip(*(loss(weights, meta_batch) for weights in adapted), strict=True)
    # Averaged over the inner steps, as in La-MAML's code.
    return jnp.mean(jnp.stack(losses)), metrics[-1]
