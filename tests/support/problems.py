"""Small problems, and a training step, shared by the test files."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_lookbehind as ol


def network(key=0, dtype=jnp.float32):
    """Weights of a two-layer network, (4, 8) and (8, 3), with biases; and its loss."""
    keys = jax.random.split(jax.random.key(key), 2)
    params = {
        "hidden": {"w": jax.random.normal(keys[0], (4, 8), dtype) / 2, "b": jnp.zeros(8, dtype)},
        "out": {"w": jax.random.normal(keys[1], (8, 3), dtype) / 3, "b": jnp.zeros(3, dtype)},
    }
    return params, classification_loss


def classification_loss(params, batch):
    x, y = batch
    hidden = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
    logits = hidden @ params["out"]["w"] + params["out"]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def batches(number=4, size=16, dtype=jnp.float32):
    """``number`` minibatches of ``size`` examples that the network can learn."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(number, size, 4))
    y = np.argmax(x[..., :3] + 0.3 * rng.normal(size=(number, size, 3)), axis=-1)
    return jnp.asarray(x, dtype), jnp.asarray(y)


def make_step(tx, loss_fn):
    """The training step of the README: ``(params, state, batch) -> (params, state, loss)``."""

    def step(params, state, batch):
        loss, grads, grad_fn = ol.value_and_grad(loss_fn)(params, batch)
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state, loss

    return step


def quadratic(dimension=6, seed=0):
    """A positive definite matrix A and a point w, for the loss ``w A w / 2`` with gradient A w."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(dimension, dimension))
    return root @ root.T / dimension + np.eye(dimension), rng.normal(size=dimension)
