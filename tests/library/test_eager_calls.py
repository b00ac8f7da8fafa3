"""Calls outside jit: the numbers of jit, and no compilation for a gradient function seen before."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import batches, network, optimizers


def data(dtype=jnp.float32):
    return jax.tree.map(lambda x: x[0], batches(number=1, dtype=dtype))


@pytest.mark.parametrize("name", ["lookbehind_switch", "ae_looksam"])
def test_the_same_gradient_function_does_not_compile_twice(name, compilations):
    params, loss_fn = network()
    batch = data()
    grad = jax.jit(jax.grad(loss_fn))
    grad_fn = lambda params, i: grad(params, batch)
    tx = optimizers()[name]
    state = tx.init(params)
    for step in range(3):
        with compilations() as count:
            updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
            params = optax.apply_updates(params, updates)
        assert step == 0 or count[0] == 0


def test_a_new_closure_over_a_compiled_gradient_does_not_compile_either(compilations):
    params, loss_fn = network()
    grad = jax.jit(jax.grad(loss_fn))
    tx = ol.lookbehind_sam(3, 0.05, "adaptive")
    state = tx.init(params)
    for step, x in enumerate(np.random.default_rng(0).normal(size=(3, 16, 4))):
        batch = jnp.asarray(x, jnp.float32), data()[1]
        with compilations() as count:
            grad_fn = lambda params, i, batch=batch: grad(params, batch)
            _, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
        assert step == 0 or count[0] == 0


def test_a_gradient_function_that_reads_changed_data_sees_the_change(float64):
    params, loss_fn = network(dtype=jnp.float64)
    tx, scale = ol.sam(0.05), 1.0
    grad_fn = lambda params, i: optax.tree.scale(scale, jax.grad(loss_fn)(params, batch))
    batch, state = data(jnp.float64), tx.init(params)
    first, _ = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
    scale = 2.0
    second, _ = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(2 * a, b, rtol=1e-12), first, second)


@pytest.mark.parametrize("name", ["lookbehind_sgd", "lookbehind_switch", "ae_looksam"])
def test_a_call_outside_jit_gives_the_numbers_of_jit(name, float64):
    start, loss_fn = network(dtype=jnp.float64)
    batch, tx = data(jnp.float64), optimizers()[name]
    grad_fn = lambda params, i: jax.grad(loss_fn)(params, batch)

    def step(params, state):
        updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    results = []
    for run in (step, jax.jit(step)):
        params, state = start, tx.init(start)
        for _ in range(3):
            params, state = run(params, state)
        results.append((params, state))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), *results)
