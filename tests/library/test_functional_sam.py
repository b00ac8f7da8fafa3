"""Functional SAM's gradient: limits, outputs of any structure, dtypes, and what it costs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import batches, classification_loss, network

exact = pytest.mark.usefixtures("float64")


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


@exact
@pytest.mark.parametrize("rho", [0.1, 10.0])
def test_where_the_outputs_are_linear_in_the_weights_it_is_the_plain_gradient(rho):
    x, y = jax.tree.map(lambda a: a[0], batches(1, dtype=jnp.float64))
    w = {"kernel": jnp.ones((4, 3)), "bias": jnp.arange(3.0)}
    outputs_fn = lambda w: x @ w["kernel"] + w["bias"]
    loss_of_outputs = lambda logits: cross_entropy(logits, y)
    grads = jax.grad(lambda w: loss_of_outputs(outputs_fn(w)))(w)
    grad_fn = ol.functional_grad_fn(outputs_fn, loss_of_outputs, w)
    tx = ol.sam(rho)
    result, _ = tx.update(grads, tx.init(w), w, grad_fn=grad_fn)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), result, grads)


@exact
def test_the_outputs_may_be_several_heads_and_the_weights_those_of_lookahead():
    w, v = jnp.asarray([0.3, -1.2]), jnp.asarray([0.5, 0.1])
    outputs_fn = lambda w: {"first": jnp.sin(w), "second": (w**3,)}
    loss_of_outputs = lambda heads: jnp.sum(heads["first"] ** 2) + jnp.prod(heads["second"][0])
    params = optax.LookaheadParams(fast=w, slow=v)
    result = ol.functional_grad_fn(outputs_fn, loss_of_outputs, params)(v, 0)
    # The Jacobians at v, the derivatives of the loss at w.
    expected = jnp.cos(v) * 2 * jnp.sin(w) + 3 * v**2 * jnp.flip(w**3)
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def products(step, *arguments):
    """Matrix products in the compiled step."""
    program = jax.jit(step).lower(*arguments).compile().as_text()
    return len(re.findall(r" dot\(|custom-call.*matmul", program))


def test_it_takes_fewer_matrix_products_than_sams_second_gradient(optimized):
    params, _ = network()
    batch = jax.tree.map(lambda a: a[0], batches(1))
    tx = ol.sam(0.05)

    def outputs_fn(params):
        hidden = jnp.tanh(batch[0] @ params["hidden"]["w"] + params["hidden"]["b"])
        return hidden @ params["out"]["w"] + params["out"]["b"]

    def sam(params):
        _, grads, grad_fn = ol.value_and_grad(classification_loss)(params, batch)
        return tx.update(grads, tx.init(params), params, grad_fn=grad_fn)[0]

    def functional_sam(params):
        grads = jax.grad(classification_loss)(params, batch)
        loss_of_outputs = lambda logits: cross_entropy(logits, batch[1])
        grad_fn = ol.functional_grad_fn(outputs_fn, loss_of_outputs, params)
        return tx.update(grads, tx.init(params), params, grad_fn=grad_fn)[0]

    # A gradient: two products forward, three backward. The perturbed logits are not needed.
    assert products(sam, params) == 10
    assert products(functional_sam, params) == 9
