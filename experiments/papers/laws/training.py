"""Training a small network to the edge of stability, with its curvature measured on the way."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from sklearn.datasets import load_digits

WINDOW = 20  # steps of the harmonic mean of a norm: several periods of the bounce
_POWER_ITERATIONS = 80
_COLUMNS = 64  # columns of a Hessian that are computed together
_SIZES = (64, 48, 48, 10)

Batch = tuple[jax.Array, jax.Array]
Loss = Callable[[Any, Batch], jax.Array]


class Problem(NamedTuple):
    """A loss, where training starts, and the data.

    Attributes:
      loss_fn: ``(params, batch) -> loss``.
      params: the weights at the start.
      batch: all examples; curvature is that of the loss on them.
      batch_size: examples of a training step; None for all of them.
    """

    loss_fn: Loss
    params: Any
    batch: Batch
    batch_size: int | None = None


class Trace(NamedTuple):
    """Measurements at every sample of a run, ``[sample]``.

    Attributes:
      step: training steps taken.
      curvature: the largest eigenvalue of the Hessian, at the middle of the next step.
      vector: its eigenvector, ``[sample, weight]``.
      weights: the weights there, ``[sample, weight]``.
      norm: harmonic mean, over the last steps, of the norm that the perturbation is divided by.
      ratio: mean of the emitted gradient's norm over the plain one's, over the last steps.
      loss: the training loss.
    """

    step: np.ndarray
    curvature: np.ndarray
    vector: np.ndarray
    weights: np.ndarray
    norm: np.ndarray
    ratio: np.ndarray
    loss: np.ndarray


def squared_error(num_examples: int = 1000, seed: int = 0) -> Problem:
    """A tanh network on digits with squared error and full batches."""
    batch = _digits(num_examples)

    def loss_fn(params: Any, batch: Batch) -> jax.Array:
        return jnp.mean(jnp.sum((_network(params, batch[0]) - batch[1]) ** 2, axis=-1)) / 2

    return Problem(loss_fn, _initial(seed), batch)


def cross_entropy(num_examples: int = 1000, seed: int = 0, batch_size: int = 100) -> Problem:
    """The same network with cross-entropy and minibatches."""

    def loss_fn(params: Any, batch: Batch) -> jax.Array:
        return optax.softmax_cross_entropy(_network(params, batch[0]), batch[1]).mean()

    return Problem(loss_fn, _initial(seed), _digits(num_examples), batch_size)


def train(
    problem: Problem,
    method: optax.GradientTransformationExtraArgs,
    optimizer: optax.GradientTransformation,
    divisor: optax.GradientTransformation,
    *,
    steps: int,
    samples: int,
    period: int = 1,
) -> Trace:
    """Trains and measures.

    Args:
      problem: loss, start and data.
      method: the sharpness-aware method; ``optax.identity()`` for none.
      optimizer: the optimizer behind it.
      divisor: maps the gradient to the vector whose norm the perturbation is divided by.
      steps: number of training steps.
      samples: number of measurements.
      period: every how many steps the method perturbs; norms are those of these steps.
    """
    every = steps // samples
    flat, unflatten = ravel_pytree(problem.params)

    def step(carry: Any, number: jax.Array) -> Any:
        params, state, optimizer_state, divisor_state = carry
        batch = _minibatch(problem, number)
        grad_fn = lambda p, i: jax.grad(problem.loss_fn)(p, batch)  # noqa: E731
        grads = grad_fn(params, 0)
        emitted, state = method.update(grads, state, params, grad_fn=grad_fn)
        updates, optimizer_state = optimizer.update(emitted, optimizer_state, params)
        divided, divisor_state = divisor.update(grads, divisor_state, params)
        measured = optax.tree.norm(divided), optax.tree.norm(emitted) / optax.tree.norm(grads)
        params = optax.apply_updates(params, updates)
        return (params, state, optimizer_state, divisor_state), measured

    @jax.jit
    def advance(carry: Any, first: jax.Array, vector: jax.Array) -> Any:
        carry, (norms, ratios) = jax.lax.scan(step, carry, first + jnp.arange(every))
        after, _ = step(carry, first + every)
        # Halfway between two weights of the bounce, where the curvature is that of the valley.
        middle = jax.tree.map(lambda a, b: (a + b) / 2, carry[0], after[0])
        curvature, vector = _top(partial(_hvp, problem, middle, unflatten), vector)
        weights, _ = ravel_pytree(middle)
        norm = 1 / jnp.mean(1 / norms[-WINDOW::period])
        loss = problem.loss_fn(carry[0], problem.batch)
        return carry, vector, (curvature, vector, weights, norm, jnp.mean(ratios[-WINDOW:]), loss)

    p = problem.params
    carry = (p, method.init(p), optimizer.init(p), divisor.init(p))
    vector = jax.random.normal(jax.random.key(1), flat.shape)
    rows = []
    for sample in range(samples):
        carry, vector, row = advance(carry, jnp.int32(sample * every), vector)
        rows.append((every * (sample + 1), *row))
    return Trace(*(np.array(column, float) for column in zip(*rows, strict=True)))


def spectrum(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """All eigenvalues of the Hessian of the mean loss at flat weights, in descending order."""
    _, unflatten = ravel_pytree(problem.params)
    params = unflatten(jnp.asarray(weights, jnp.float32))
    # In parts: a vmap over all columns at once would hold the activations of each.
    columns = jax.jit(
        lambda basis: jax.lax.map(
            partial(_hvp, problem, params, unflatten), basis, batch_size=_COLUMNS
        )
    )
    hessian = np.asarray(columns(jnp.eye(len(weights))), float)
    return np.linalg.eigvalsh((hessian + hessian.T) / 2)[::-1]


def _hvp(problem: Problem, params: Any, unflatten: Callable, vector: jax.Array) -> jax.Array:
    gradient = lambda p: jax.grad(problem.loss_fn)(p, problem.batch)  # noqa: E731
    product = jax.jvp(gradient, (params,), (unflatten(vector),))[1]
    return ravel_pytree(product)[0]


def _top(product: Callable, vector: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Power iteration from ``vector``: the eigenvalue of largest size, and its eigenvector."""

    def iterate(v: jax.Array, _: None) -> Any:
        hv = product(v)
        return hv / jnp.linalg.norm(hv), None

    v, _ = jax.lax.scan(iterate, vector / jnp.linalg.norm(vector), length=_POWER_ITERATIONS)
    return v @ product(v), v


def _minibatch(problem: Problem, number: jax.Array) -> Batch:
    if problem.batch_size is None:
        return problem.batch
    num_examples = len(problem.batch[0])
    rows = jax.random.choice(
        jax.random.fold_in(jax.random.key(2), number), num_examples, (problem.batch_size,)
    )
    return jax.tree.map(lambda a: a[rows], problem.batch)


def _digits(num_examples: int) -> Batch:
    images, labels = load_digits(return_X_y=True)
    x = jnp.asarray(images[:num_examples] / 16 - 0.3, jnp.float32)
    return x, jax.nn.one_hot(labels[:num_examples], 10)


def _network(params: Any, x: jax.Array) -> jax.Array:
    *hidden, (weights, bias) = params
    for w, b in hidden:
        x = jnp.tanh(x @ w + b)
    return x @ weights + bias


def _initial(seed: int) -> Any:
    keys = jax.random.split(jax.random.key(seed), len(_SIZES) - 1)
    return [
        (jax.random.normal(key, (n, m)) / n**0.5, jnp.zeros(m))
        for key, (n, m) in zip(keys, pairwise(_SIZES), strict=True)
    ]
