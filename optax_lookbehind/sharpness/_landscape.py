"""The loss landscape along lines and over planes."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optax_lookbehind._core.checks import check_finite
from optax_lookbehind._core.gradient_checks import check_like
from optax_lookbehind._core.keys import as_key
from optax_lookbehind._core.tree import as_accumulator, divide, scalar_dtype
from optax_lookbehind._core.types import LossFn
from optax_lookbehind.sharpness._batches import as_vector, check_batches, mean_loss


def filter_normalized_direction(key: int | jax.Array, params: optax.Params, axis: int = -1) -> Any:
    r"""A random direction in which every filter has the norm of that filter of the weights.

    .. math::
      d_{f} \leftarrow \frac{d_{f}}{\lVert d_{f} \rVert} \lVert w_{f} \rVert,
      \qquad d \sim \mathcal{N}(0, 1)

    A filter f is the slice of a kernel, along ``axis``, that produces one output. Scaling a layer
    up and the next one down changes neither the function of a ReLU network nor this landscape. As
    in the authors' code, the direction of leaves of fewer than two dimensions (biases, BatchNorm's
    scales) is zero.

    Args:
      key: a ``jax.random.key``, or a seed.
      params: the weights.
      axis: the axis of kernels that counts outputs: -1 in Flax and Haiku, 0 in Equinox and PyTorch.

    Returns:
      A pytree like ``params``, float32 or wider.

    Raises:
      ValueError: if ``axis`` is not an integer, or not an axis of every kernel.

    References:
      Li et al., `Visualizing the Loss Landscape of Neural Nets <https://arxiv.org/abs/1712.09913>`_,
      2018, section 4.
    """
    return _direction(as_key(key), params, _check_axis(axis, params))


def loss_line(
    loss_fn: LossFn, params: optax.Params, batches: Any, direction: Any, coordinates: Any
) -> jax.Array:
    """The mean loss at ``params + c * direction`` for each coordinate c.

    Args:
      loss_fn: ``(params, batch) -> scalar``; it decides in which mode BatchNorm runs.
      params: the weights, at coordinate 0.
      batches: the minibatches, arrays of shape (num_batches, batch_size, ...).
      direction: a pytree like ``params``, from :func:`filter_normalized_direction` for instance.
      coordinates: numbers, shape (n,).

    Returns:
      The losses, float32 or wider, shape (n,).

    Raises:
      ValueError: if a coordinate is not finite, ``direction`` does not have the structure and
        shapes of ``params``, or the arrays in ``batches`` disagree on the number of minibatches.

    References:
      Li et al., `Visualizing the Loss Landscape of Neural Nets <https://arxiv.org/abs/1712.09913>`_,
      2018, section 3.
    """
    check_batches(batches)
    check_like(params, "direction", direction)
    coordinates = _coordinates("coordinates", coordinates, params)
    return _losses(loss_fn, params, batches, (direction,), (coordinates,))


def loss_plane(
    loss_fn: LossFn,
    params: optax.Params,
    batches: Any,
    direction_1: Any,
    direction_2: Any,
    coordinates_1: Any,
    coordinates_2: Any,
) -> jax.Array:
    """The mean loss at ``params + a * direction_1 + b * direction_2`` over a grid.

    Args:
      loss_fn: ``(params, batch) -> scalar``; it decides in which mode BatchNorm runs.
      params: the weights, at coordinates (0, 0).
      batches: the minibatches, arrays of shape (num_batches, batch_size, ...).
      direction_1: a pytree like ``params``, from :func:`filter_normalized_direction` for instance.
      direction_2: a second direction, like ``direction_1``.
      coordinates_1: the values of a, shape (n_1,).
      coordinates_2: the values of b, shape (n_2,).

    Returns:
      The losses, float32 or wider, shape (n_1, n_2).

    Raises:
      ValueError: as for :func:`loss_line`.

    References:
      Li et al., `Visualizing the Loss Landscape of Neural Nets <https://arxiv.org/abs/1712.09913>`_,
      2018, section 3.
    """
    check_batches(batches)
    check_like(params, "direction_1", direction_1)
    check_like(params, "direction_2", direction_2)
    a = _coordinates("coordinates_1", coordinates_1, params)
    b = _coordinates("coordinates_2", coordinates_2, params)
    return _losses(loss_fn, params, batches, (direction_1, direction_2), (a, b))


def loss_between(
    loss_fn: LossFn, start: optax.Params, end: optax.Params, batches: Any, coordinates: Any
) -> jax.Array:
    """The mean loss on the straight line from one checkpoint to another.

    A barrier between the two means that they lie in different basins. Coordinate 0 is ``start``, 1
    is ``end``; others extend the line. The running statistics of BatchNorm of one checkpoint do not
    fit the other weights on the line, so let ``loss_fn`` use the statistics of the batch.

    Args:
      loss_fn: ``(params, batch) -> scalar``.
      start: the weights of one checkpoint.
      end: the weights of the other.
      batches: the minibatches, arrays of shape (num_batches, batch_size, ...).
      coordinates: c in ``(1 - c) * start + c * end``, shape (n,).

    Returns:
      The losses, float32 or wider, shape (n,).

    Raises:
      ValueError: if ``end`` does not have the structure and shapes of ``start``; otherwise as for
        :func:`loss_line`.

    References:
      Goodfellow et al., `Qualitatively Characterizing Neural Network Optimization Problems
      <https://arxiv.org/abs/1412.6544>`_, 2015.
    """
    check_batches(batches)
    check_like(start, "end", end, params_name="start")
    coordinates = _coordinates("coordinates", coordinates, start)
    return _losses_between(loss_fn, start, end, batches, coordinates)


@functools.partial(jax.jit, static_argnames="loss_fn")
def _losses_between(
    loss_fn: LossFn, start: optax.Params, end: optax.Params, batches: Any, coordinates: jax.Array
) -> jax.Array:
    direction = optax.tree.sub(as_accumulator(end), as_accumulator(start))
    return _losses(loss_fn, start, batches, (direction,), (coordinates,))


@functools.partial(jax.jit, static_argnames="loss_fn")
def _losses(
    loss_fn: LossFn,
    params: optax.Params,
    batches: Any,
    directions: tuple[Any, ...],
    coordinates: tuple[jax.Array, ...],
) -> jax.Array:
    """The loss over the grid that a vector of coordinates for each direction spans."""
    grid = jnp.meshgrid(*coordinates, indexing="ij")

    def loss(point: tuple[jax.Array, ...]) -> jax.Array:
        moved = as_accumulator(params)
        for c, direction in zip(point, directions, strict=True):
            moved = optax.tree.add_scale(moved, c, as_accumulator(direction))
        return mean_loss(loss_fn, optax.tree.cast_like(moved, params), batches)

    return jax.lax.map(loss, tuple(x.ravel() for x in grid)).reshape(grid[0].shape)


def _coordinates(name: str, values: Any, params: optax.Params) -> jax.Array:
    return as_vector(name, values, check_finite, scalar_dtype(params))


@functools.partial(jax.jit, static_argnames="axis")
def _direction(key: jax.Array, params: optax.Params, axis: int) -> Any:
    wide = as_accumulator(params)
    direction = optax.tree.random_like(key, wide, jax.random.normal)
    return jax.tree.map(functools.partial(_normalize, axis=axis), direction, wide)


def _normalize(direction: jax.Array, weights: jax.Array, axis: int) -> jax.Array:
    if weights.ndim < 2:
        return jnp.zeros_like(direction)
    axis %= weights.ndim
    others = tuple(i for i in range(weights.ndim) if i != axis)
    length = functools.partial(jnp.linalg.vector_norm, axis=others, keepdims=True)
    return direction * divide(length(weights), length(direction))


def _check_axis(axis: Any, params: optax.Params) -> int:
    ranks = [jnp.ndim(w) for w in jax.tree.leaves(params) if jnp.ndim(w) > 1]
    try:
        axis = operator.index(axis)
    except TypeError:
        raise ValueError(f"axis must be an integer, got {axis!r}.") from None
    if any(not -rank <= axis < rank for rank in ranks):
        raise ValueError(
            f"axis must be an axis of every kernel; got {axis} and kernels of "
            f"{min(ranks)} dimensions."
        )
    return axis
