"""ESAM's sharpness-sensitive data selection: descent on the examples that ascent affects most."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.ascent import fast_params
from optax_lookbehind._core.checks import check_fraction
from optax_lookbehind._core.types import GradFn


def sharpest_examples_grad_fn(
    per_example_loss_fn: Callable[[optax.Params], jax.Array],
    params: optax.Params,
    gamma: float = 0.5,
) -> GradFn:
    """Builds a ``grad_fn`` for the examples whose loss the perturbation raised most.

    ESAM's sharpness-sensitive data selection. Change this::

      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    To::

      grad_fn = sharpest_examples_grad_fn(lambda p: losses(p, x, y), params)
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)

    where ``grads`` stays the gradient of the mean loss over the whole minibatch, while ``grad_fn``
    returns that of the mean loss over the selected examples. Shapes are static and models with
    BatchNorm need the whole minibatch, so all examples pass through the network and the others
    have weight zero: the gradient is ESAM's, but its saving in the backward pass is lost.
    Cost: one forward pass at ``params``, which the compiler shares with the caller's.

    Args:
      per_example_loss_fn: ``params -> losses`` of the minibatch, shape ``(examples,)``.
      params: the weights before the perturbation, as passed to ``update``.
      gamma: the fraction of the examples to select, in (0, 1]; at least one is selected.

    Returns:
      ``grad_fn(params, i) -> grads`` for ``update``; it ignores ``i``.

    Raises:
      ValueError: if ``gamma`` is outside (0, 1] or the losses are not one number per example.

    References:
      Du et al., `ESAM <https://arxiv.org/abs/2110.03141>`_, ICLR 2022
      (sharpness-sensitive data selection).
    """
    check_fraction("gamma", gamma, zero=False)
    clean = per_example_loss_fn(fast_params(params))
    if jnp.ndim(clean) != 1:
        raise ValueError(
            "per_example_loss_fn must return one loss per example, shape (examples,), got shape "
            f"{jnp.shape(clean)}."
        )
    selected = max(1, round(gamma * clean.size))

    def grad_fn(perturbed: optax.Params, i: jax.Array) -> optax.Updates:
        del i
        losses, vjp_fn = jax.vjp(per_example_loss_fn, perturbed)
        _, sharpest = jax.lax.top_k(losses - clean, selected)
        weights = jnp.zeros_like(losses).at[sharpest].set(1 / selected)
        return vjp_fn(weights)[0]

    return grad_fn
