"""Perturbation rules: map a gradient to the ascent step e.

A rule is an Optax transformation whose output is *added* to the weights, so schedules, masks and
chains of Optax work in front of it and around it. Its state advances once per training step, with
the gradient at the weights themselves averaged over the devices; all ascent steps of a training
step use the same state.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core import keys
from optax_lookbehind._core.ascent import init_rule
from optax_lookbehind._core.checks import (
    at_step,
    check_fraction,
    check_key,
    check_mask,
    check_non_negative,
    check_positive,
)
from optax_lookbehind._core.tree import (
    as_accumulator,
    divide,
    mul,
    norm,
    scale,
    standard_promotion,
)
from optax_lookbehind._core.types import Mask


class StochasticPerturbationState(NamedTuple):
    """State of :func:`stochastic_perturbation`.

    Attributes:
      key: data of the random key of the next training step (``jax.random.key_data``).
      perturbation_state: state of the perturbation rule.
    """

    key: jax.Array
    perturbation_state: optax.OptState


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
      gradient with a NaN gives NaNs. The norm is accumulated in float32 or better, without a pass
      over the gradient to scale it first: in float32 norms below about 1e-19 or above 1e19 give no
      perturbation, as their squares are zero or infinite. :func:`check_grad_fn` finds them.

    Raises:
      ValueError: if ``rho`` is not a finite number > 0.

    References:
      Foret et al., `Sharpness-Aware Minimization for Efficiently Improving Generalization
      <https://arxiv.org/abs/2010.01412>`_, 2021, equation 2.
    """
    check_positive("rho", rho, schedule=True)

    @standard_promotion
    def direction(grads: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        return _divide(grads, norm(grads))  # g / |g|

    return optax.chain(optax.stateless(direction), _scale_by_rho(rho))


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
        one, as in :func:`optax.masked`; where False, ``T = 1``. The code of the ASAM and of the
        Lookbehind authors leaves biases unscaled;
        ``mask=lambda w: jax.tree.map(lambda x: x.ndim > 1, w)`` is close to it. None, the
        default, scales every weight, as in equation 4 of Mordido et al., 2024. (A callable needs
        ``static_args=("mask",)`` under :func:`optax.inject_hyperparams`.)

    Returns:
      An :class:`optax.GradientTransformation` whose ``update`` needs ``params``. Zero gradients,
      NaNs and norms as in :func:`sam_perturbation`.

    Raises:
      ValueError: if ``rho`` is not a finite number > 0 or ``eta`` is not a finite number >= 0; in
        ``update`` if ``params`` are missing or ``mask`` is none of the above.

    References:
      Kwon et al., `ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of
      Deep Neural Networks <https://arxiv.org/abs/2102.11600>`_, 2021, section 4.
    """
    check_positive("rho", rho, schedule=True)
    check_non_negative("eta", eta)

    @standard_promotion
    def direction(grads: optax.Updates, params: optax.Params | None) -> optax.Updates:
        if params is None:
            raise ValueError("asam_perturbation needs params: call update(grads, state, params).")
        # Products of weights and gradients leave the range of float16.
        t = _scaling(as_accumulator(params), eta, mask)
        t_g = optax.tree.mul(t, as_accumulator(grads))
        t_squared_g = optax.tree.mul(t, t_g)
        return optax.tree.cast_like(_divide(t_squared_g, norm(t_g)), grads)  # T^2 g / |T g|

    return optax.chain(optax.stateless(direction), _scale_by_rho(rho))


def stochastic_perturbation(
    perturbation: optax.GradientTransformation, beta: float = 0.6, key: int | jax.Array = 0
) -> optax.GradientTransformation:
    r"""Perturbs a random fraction of the weights: ESAM's stochastic weight perturbation.

    .. math:: e' = \frac{m}{\beta} \, e, \qquad m \sim \mathrm{Bernoulli}(\beta)

    independently for each weight, so that the expectation of :math:`e'` is e. All ascent steps of a
    training step use the same mask. It wraps any perturbation rule::

      tx = optax.chain(
          multistep(stochastic_perturbation(sam_perturbation(rho=0.05))), optax.sgd(0.1)
      )

    Args:
      perturbation: a perturbation rule.
      beta: the probability of perturbing a weight, in (0, 1].
      key: a seed or a ``jax.random.key``, kept in the state; it advances every training step.

    Returns:
      An :class:`optax.GradientTransformation`.

    Raises:
      ValueError: if ``beta`` is outside (0, 1].

    References:
      Du et al., `Efficient Sharpness-aware Minimization for Improved Training of Neural Networks
      <https://arxiv.org/abs/2110.03141>`_, ICLR 2022 (stochastic weight
      perturbation).
    """
    check_fraction("beta", beta, zero=False)
    check_key(key)

    def init_fn(params: optax.Params) -> StochasticPerturbationState:
        return StochasticPerturbationState(keys.key_data(key), init_rule(perturbation, params))

    def update_fn(
        updates: optax.Updates,
        state: StochasticPerturbationState,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, StochasticPerturbationState]:
        e, perturbation_state = perturbation.update(updates, state.perturbation_state, params)
        next_key, draw = keys.split(state.key, key)

        @standard_promotion
        def sample(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
            return jax.random.bernoulli(key, beta, shape).astype(dtype) / beta

        masks = optax.tree.random_like(draw, e, sampler=sample)
        e = optax.tree.cast_like(mul(masks, e), e)  # e' = m e / beta
        return e, StochasticPerturbationState(next_key, perturbation_state)

    return optax.GradientTransformation(init_fn, update_fn)


def masked_perturbation(
    perturbation: optax.GradientTransformation, mask: Mask
) -> optax.GradientTransformation:
    r"""Perturbs the weights where the mask is True, and only those (SAM-ON).

    .. math:: e = \rho \, \frac{m \circ g}{\lVert m \circ g \rVert_2}

    for SAM's rule: the norm is that of the masked gradient, so that e has length rho. All weights
    descend along the gradient at the perturbed weights. Change this::

      multistep(asam_perturbation(rho=0.5))

    To::

      def is_norm(params):
          by_name = lambda path, w: "norm" in jax.tree_util.keystr(path)
          return jax.tree_util.tree_map_with_path(by_name, params)

      multistep(masked_perturbation(asam_perturbation(rho=0.5), is_norm))

    ``optax.masked(asam_perturbation(rho), mask)`` is *not* the same, and wrong: it passes on
    unchanged what the mask excludes, so the other weights would be moved by their raw gradient.

    Args:
      perturbation: any perturbation rule, filters in front of it included; it gets the weights and
        gradients where the mask is True.
      mask: a pytree of bools like the weights (or a prefix of it), or a callable from weights to
        one, as in :func:`optax.masked`.

    Returns:
      An :class:`optax.GradientTransformation`.

    Raises:
      ValueError: in ``init`` if the mask is False everywhere, or none of the above.

    References:
      Mueller et al., `Normalization Layers Are All That Sharpness-Aware Minimization Needs
      <https://arxiv.org/abs/2306.04226>`_, NeurIPS 2023; the authors' code,
      https://github.com/mueller-mp/SAM-ON.
    """

    def excluded(params: optax.Params) -> Any:
        return jax.tree.map(lambda perturbed: not perturbed, _values(mask, params))

    masked = optax.chain(
        optax.masked(perturbation, lambda params: _values(mask, params)),
        optax.masked(optax.set_to_zero(), excluded),
    )

    def init_fn(params: optax.Params) -> optax.OptState:
        if jax.tree.leaves(params):  # none in the placeholder of optax.tree.map_params
            check_mask(_values(mask, params), params)
        values = jax.tree.leaves(_values(mask, params))
        if values and not any(values):
            raise ValueError(
                f"mask must be True for some of the weights, or nothing is perturbed; got {mask!r}."
            )
        return masked.init(params)

    return optax.GradientTransformation(init_fn, masked.update)


def _scaling(params: optax.Params, eta: float, mask: Mask | None) -> Any:
    """ASAM's ``T``: ``|w| + eta``, or 1 where the mask is False."""
    mask = True if mask is None else _values(mask, params)
    check_mask(mask, params)
    return jax.tree.map(
        lambda scaled, subtree: jax.tree.map(
            lambda w: jnp.abs(w) + eta if scaled else jnp.ones_like(w), subtree
        ),
        mask,
        params,
    )


def _divide(grads: optax.Updates, length: jax.Array) -> optax.Updates:
    """``grads / length`` in the dtypes of ``grads``; zero where the length is."""
    return optax.tree.cast_like(scale(divide(1, length), grads), grads)


def _scale_by_rho(rho: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    # Optax's way to multiply by a scalar or a schedule. The schedule advances once per training
    # step, because the state of a perturbation rule does.
    checked = lambda step: at_step("rho", rho, step, check_non_negative)  # noqa: E731
    return optax.scale_by_learning_rate(checked if callable(rho) else rho, flip_sign=False)


def _values(mask: Mask, params: optax.Params) -> Any:
    # A tree of bools may be callable itself, as a module of Equinox is.
    is_function = callable(mask) and all(map(callable, jax.tree.leaves(mask)))
    return mask(params) if is_function else mask
