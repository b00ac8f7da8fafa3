"""Robustness to noise on the weights."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import check_count, check_non_negative
from optax_lookbehind._core.cpu_convolutions import call_in_loop
from optax_lookbehind._core.keys import as_key
from optax_lookbehind._core.tree import as_accumulator, scalar_dtype
from optax_lookbehind.sharpness._batches import as_vector, check_batches, mean_over_batches


class NoiseRobustness(NamedTuple):
    """Result of :func:`noise_robustness`, for each sigma.

    Attributes:
      mean: the metric's mean over the draws, shape (num_sigmas,).
      std: its standard deviation over the draws (divided by their number), of the same shape.
    """

    mean: jax.Array
    std: jax.Array


def noisy_weights(key: int | jax.Array, params: optax.Params, sigma: Any) -> optax.Params:
    r"""Weights times independent Gaussian noise around one.

    .. math:: \tilde{w} = w \odot z, \qquad z \sim \mathcal{N}(1, \sigma^2)

    Args:
      key: a ``jax.random.key``, or a seed.
      params: the weights.
      sigma: the noise's standard deviation, relative to each weight, >= 0.

    Returns:
      The noisy weights, in the dtypes of ``params``.

    Raises:
      ValueError: if ``sigma`` is not a finite number >= 0.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024, section 4.4.
    """
    check_non_negative("sigma", sigma)
    return _noisy(as_key(key), params, sigma)


def noise_robustness(
    metric_fn: Callable[..., jax.Array],
    params: optax.Params,
    batches: Any,
    sigmas: Any,
    *,
    draws: int = 10,
    key: int | jax.Array = 0,
    statistics_fn: Callable[[optax.Params, Any], Any] | None = None,
    statistics_data: Any = None,
) -> NoiseRobustness:
    """Mean and standard deviation of a metric, such as accuracy, under noise on the weights.

    Flat minima keep their accuracy under more noise. BatchNorm's running statistics belong to the
    clean weights, so Mordido et al. re-estimate them after the noise (the paper does not state on
    which data); that is what ``statistics_fn`` is for. Without BatchNorm, omit it::

      def accuracy(params, batch):
          x, y = batch
          return jnp.mean(jnp.argmax(model.apply(params, x), axis=-1) == y)

      mean, std = noise_robustness(accuracy, params, batches, sigmas=[0.1, 0.2, 0.3])

    Args:
      metric_fn: ``(params, batch) -> scalar``, or ``(params, batch, statistics) -> scalar`` with a
        ``statistics_fn``. Its mean over the minibatches is the metric of a draw.
      params: the weights without noise.
      batches: the minibatches to measure on, arrays of shape (num_batches, batch_size, ...).
      sigmas: the noise's standard deviations, relative to each weight, >= 0, shape (n,).
      draws: number of noisy copies for each sigma, >= 1. All sigmas share the same draws, scaled,
        so that the curve over sigma is smooth.
      key: a ``jax.random.key``, or a seed.
      statistics_fn: ``(params, statistics_data) -> statistics``, any pytree; called once a draw,
        with the noisy weights.
      statistics_data: its second argument, training minibatches for instance.

    Returns:
      A :class:`NoiseRobustness`, float32 or wider.

    Raises:
      ValueError: if a sigma is not a finite number >= 0, ``draws`` is not an integer >= 1, or the
        arrays in ``batches`` disagree on the number of minibatches.

    References:
      Mordido et al., `Lookbehind-SAM <https://arxiv.org/abs/2307.16704>`_, ICML 2024, section 4.4.
    """
    check_batches(batches)
    sigmas = as_vector("sigmas", sigmas, check_non_negative, scalar_dtype(params))
    keys = jax.random.split(as_key(key), check_count("draws", draws))
    return _robustness(metric_fn, statistics_fn, params, batches, statistics_data, sigmas, keys)


@jax.jit
def _noisy(key: jax.Array, params: optax.Params, sigma: jax.Array) -> optax.Params:
    wide = as_accumulator(params)
    noise = optax.tree.random_like(key, wide, jax.random.normal)
    noisy = jax.tree.map(lambda w, z: w * (1 + sigma * z), wide, noise)
    return optax.tree.cast_like(noisy, params)


@functools.partial(jax.jit, static_argnames=("metric_fn", "statistics_fn"))
def _robustness(
    metric_fn: Callable[..., jax.Array],
    statistics_fn: Callable[[optax.Params, Any], Any] | None,
    params: optax.Params,
    batches: Any,
    statistics_data: Any,
    sigmas: jax.Array,
    keys: jax.Array,
) -> NoiseRobustness:
    def draw(sigma: jax.Array, key: jax.Array) -> jax.Array:
        noisy = noisy_weights(key, params, sigma)
        extra: tuple[Any, ...] = ()
        if statistics_fn is not None:
            extra = (call_in_loop(statistics_fn, noisy, statistics_data),)
        metric = lambda noisy, batch: metric_fn(noisy, batch, *extra)  # noqa: E731
        return mean_over_batches(lambda batch: call_in_loop(metric, noisy, batch), batches)

    def moments(sigma: jax.Array) -> NoiseRobustness:
        metrics = jax.lax.map(functools.partial(draw, sigma), keys)
        return NoiseRobustness(jnp.mean(metrics), jnp.std(metrics))

    return jax.lax.map(moments, sigmas)
