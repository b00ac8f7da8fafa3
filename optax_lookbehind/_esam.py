"""ESAM: perturb a random share of the weights, descend on the most affected examples."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._arguments import as_key, check_key, check_scalar, check_transformation
from optax_lookbehind._ascent import GradFn, fast_params
from optax_lookbehind._devices import AxisName
from optax_lookbehind._multistep import multistep
from optax_lookbehind._perturbation import sam_perturbation


class StochasticPerturbationState(NamedTuple):
    """State of :func:`stochastic_perturbation`.

    Attributes:
      key: random key of the next training step.
      perturbation_state: state of the perturbation rule.
    """

    key: jax.Array
    perturbation_state: optax.OptState


def stochastic_perturbation(
    perturbation: optax.GradientTransformation, beta: float = 0.6, key: int | jax.Array = 0
) -> optax.GradientTransformation:
    r"""Perturbs a random share of the weights: ESAM's stochastic weight perturbation.

    .. math:: e' = \frac{m}{\beta} \, e, \qquad m \sim \mathrm{Bernoulli}(\beta)

    for each weight on its own, so that the expectation of :math:`e'` is e. One mask serves all
    inner steps of a training step. Put it around any perturbation rule::

      tx = optax.chain(
          multistep(stochastic_perturbation(sam_perturbation(rho=0.05))), optax.sgd(0.1)
      )

    Args:
      perturbation: gradient to perturbation.
      beta: the share of weights that is perturbed, in (0, 1].
      key: a seed or a ``jax.random.key``, kept in the state.

    Returns:
      An :class:`optax.GradientTransformation`.

    Raises:
      ValueError: if ``beta`` is outside (0, 1].

    References:
      Du et al., `Efficient Sharpness-aware Minimization for Improved Training of Neural Networks
      <https://arxiv.org/abs/2110.03141>`_, ICLR 2022, section 3.1.
    """
    check_transformation("perturbation", perturbation)
    check_scalar("beta", beta, 0, 1, "(]")
    check_key(key)

    def init_fn(params: optax.Params) -> StochasticPerturbationState:
        return StochasticPerturbationState(as_key(key), perturbation.init(params))

    def update_fn(
        updates: optax.Updates,
        state: StochasticPerturbationState,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, StochasticPerturbationState]:
        e, perturbation_state = perturbation.update(updates, state.perturbation_state, params)
        next_key, draw = jax.random.split(state.key)

        def sample(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
            return jax.random.bernoulli(key, beta, shape).astype(dtype) / beta

        masks = optax.tree.random_like(draw, e, sampler=sample)
        e = optax.tree.cast_like(optax.tree.mul(masks, e), e)
        return e, StochasticPerturbationState(next_key, perturbation_state)

    return optax.GradientTransformation(init_fn, update_fn)


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

    where ``grads`` stays the gradient of the mean loss over the whole minibatch. The gradient is
    the one of the mean loss over the selected examples. Shapes are static and models with
    BatchNorm need the whole minibatch, so all examples pass through the network and the unselected
    get weight zero: this has ESAM's effect on the result, not its saving of half a backward pass.
    Cost: one forward pass at ``params``, which the compiler shares with the caller's.

    Args:
      per_example_loss_fn: weights -> losses of the minibatch, shape ``(examples,)``.
      params: the weights before the perturbation, as passed to ``update``.
      gamma: the share of examples to select, in (0, 1]; at least one example is.

    Returns:
      ``grad_fn(params, i) -> grads`` for ``update``; it ignores ``i``.

    Raises:
      ValueError: if ``gamma`` is outside (0, 1] or the losses are not one number per example.

    References:
      Du et al., `ESAM <https://arxiv.org/abs/2110.03141>`_, ICLR 2022, section 3.2.
    """
    check_scalar("gamma", gamma, 0, 1, "(]")
    clean = per_example_loss_fn(fast_params(params))
    if jnp.ndim(clean) != 1:
        raise ValueError(
            "per_example_loss_fn must return one loss per example, shape (examples,), got shape "
            f"{jnp.shape(clean)}."
        )
    selected = max(1, round(gamma * clean.size))

    def grad_fn(perturbed: optax.Params, i: jax.Array) -> optax.Updates:
        del i
        losses, pull_back = jax.vjp(per_example_loss_fn, perturbed)
        _, sharpest = jax.lax.top_k(losses - clean, selected)
        weights = jnp.zeros_like(losses).at[sharpest].set(1 / selected)
        return pull_back(weights)[0]

    return grad_fn


def esam(
    rho: optax.ScalarOrSchedule,
    beta: float = 0.6,
    key: int | jax.Array = 0,
    *,
    axis_name: AxisName = None,
    sync_perturbation: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SAM that perturbs a random share ``beta`` of the weights. 2 gradients.

    ``multistep(stochastic_perturbation(sam_perturbation(rho), beta, key))``: see
    :func:`stochastic_perturbation`. This is ESAM's weight half; for its data half build the
    ``grad_fn`` with :func:`sharpest_examples_grad_fn`.

    References:
      Du et al., `ESAM <https://arxiv.org/abs/2110.03141>`_, ICLR 2022.
    """
    return multistep(
        stochastic_perturbation(sam_perturbation(rho), beta, key),
        axis_name=axis_name,
        sync_perturbation=sync_perturbation,
    )
