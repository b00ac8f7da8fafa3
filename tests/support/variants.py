"""The recorded trajectories of further methods: their network, minibatches and optimizer."""

import json
import pathlib
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_lookbehind as ol

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
RECORDED = json.loads((GOLDEN / "variants.json").read_text())
CASES = RECORDED["cases"]
# Of newer methods; network, minibatches and optimizer are the same.
NEWER_CASES = json.loads((GOLDEN / "variants2.json").read_text())["cases"]
LEARNING_RATE = RECORDED["optimizer"]["learning_rate"]
MOMENTUM = RECORDED["optimizer"]["momentum"]


def unflatten(vector):
    """A recorded vector as a dict of named weights."""
    params, start = {}, 0
    for name, shape in RECORDED["layout"]:
        params[name] = jnp.asarray(vector[start : start + prod(shape)]).reshape(shape)
        start += prod(shape)
    return params


def flatten(params):
    """The inverse of :func:`unflatten`."""
    return np.concatenate([np.ravel(params[name]) for name, _ in RECORDED["layout"]])


def start():
    """The recorded first weights."""
    return unflatten(RECORDED["w"])


def minibatches():
    """The recorded minibatches, 4 of 8 examples."""
    return jnp.asarray(RECORDED["x"]), jnp.asarray(RECORDED["y"])


def outputs(params, x):
    hidden = jnp.tanh(x @ params["hidden_w"] + params["hidden_b"])
    hidden = hidden * params["norm_scale"] + params["norm_shift"]
    return hidden @ params["out_w"] + params["out_b"]


def loss_of_outputs(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def loss_fn(params, batch):
    x, y = batch
    return loss_of_outputs(outputs(params, x), y)


def sgd():
    return optax.sgd(LEARNING_RATE, MOMENTUM)


def is_norm(params):
    """True on the scale and shift of the normalization."""
    return {name: name.startswith("norm") for name in params}


def make_step(tx, axis_name=None):
    """A training step ``(params, state, batch) -> (params, state)``."""

    def step(params, state, batch):
        grad_fn = lambda p, i: jax.grad(loss_fn)(p, batch)
        grads = grad_fn(ol.per_device_params(params, axis_name), 0)
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    return step


def make_functional_step(tx, axis_name=None):
    """The same with functional SAM's gradient function."""

    def step(params, state, batch):
        x, y = batch
        grads = jax.grad(loss_fn)(ol.per_device_params(params, axis_name), batch)
        grad_fn = ol.functional_grad_fn(
            lambda p: outputs(p, x), lambda logits: loss_of_outputs(logits, y), params
        )
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    return step


def train(tx, step=None, steps=8):
    """Returns the flat weights after each step, and the optimizer states with their weights."""
    step = jax.jit(step or make_step(tx))
    params, data = start(), minibatches()
    state, weights, states = tx.init(params), [], []
    for t in range(steps):
        params, state = step(params, state, jax.tree.map(lambda a: a[t % len(a)], data))
        weights.append(flatten(params))
        states.append((state, params))
    return np.array(weights), states
