"""Losses whose curvature, gradients and maxima NumPy knows."""

import jax.numpy as jnp
import numpy as np


def quadratic_loss(params, batch):
    """``w A w / 2 + b w`` of the weights in two leaves, with the ``(A, b)`` of the minibatch."""
    matrix, linear = batch
    w = jnp.concatenate([params["kernel"].ravel(), params["bias"]])
    return w @ matrix @ w / 2 + linear @ w


def quadratic(number=3, seed=0, dtype=np.float64):
    """Weights of 2 x 2 + 1 numbers, and minibatches of positive definite quadratics."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(number, 5, 5))
    matrices = roots @ np.swapaxes(roots, 1, 2) / 5 + 0.1 * np.eye(5)
    linear = rng.normal(size=(number, 5))
    w = rng.normal(size=5)
    params = {"kernel": jnp.asarray(w[:4].reshape(2, 2), dtype), "bias": jnp.asarray(w[4:], dtype)}
    return params, (jnp.asarray(matrices, dtype), jnp.asarray(linear, dtype))


def flat(params):
    return np.concatenate([np.ravel(params["kernel"]), params["bias"]])


def gradients(params, batches):
    """The gradient of each minibatch, shape (number, 5)."""
    matrices, linear = map(np.asarray, batches)
    return matrices @ flat(params) + linear


def max_over_ball(matrix, gradient, radius):
    """The maximum of ``e A e / 2 + g e`` over ``|e| <= radius``, A positive semidefinite.

    On the boundary ``(t - A) e = g`` for a multiplier t above A's eigenvalues; the length of e
    falls with t, so bisection finds it.
    """
    eigenvalues, vectors = np.linalg.eigh(matrix)
    g = vectors.T @ gradient
    low, high = eigenvalues[-1], eigenvalues[-1] + np.linalg.norm(g) / radius
    for _ in range(200):
        t = (low + high) / 2
        low, high = (t, high) if np.linalg.norm(g / (t - eigenvalues)) > radius else (low, t)
    e = vectors @ (g / (high - eigenvalues))
    return e @ matrix @ e / 2 + gradient @ e
