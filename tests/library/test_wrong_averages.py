"""Errors of gradients that are averaged over devices twice, not at all or over another axis."""

import jax
import jax.numpy as jnp
import pytest

import optax_lookbehind as ol
from tests.support.devices import (
    METHODS,
    STEPS,
    make_step,
    on_mesh,
)
from tests.support.problems import batches, classification_loss, network


@pytest.fixture
def problem(float64):
    return network(dtype=jnp.float64)[0], batches(number=STEPS, size=32, dtype=jnp.float64)


@pytest.mark.parametrize("name", ["sam", "lookbehind_adam", "ae_sam"])
def test_gradients_already_summed_over_the_axis_raise(name, problem):
    params, data = problem
    tx = METHODS[name](axis_name="data")
    batch = jax.tree.map(lambda x: x[0], data)
    step = on_mesh(make_step(tx))  # jax.grad at shared weights: the trap
    with pytest.raises(ValueError, match=r"(?s)updates .*per_device_params\(params, 'data'\)"):
        step(params, tx.init(params), batch)


def test_a_grad_fn_that_averages_raises(problem):
    params, data = problem
    tx = METHODS["sam"](axis_name="data")

    def step(params, state, batch):
        def grad_fn(p, i):
            return jax.lax.pmean(jax.grad(classification_loss)(p, batch), "data")

        local = jax.grad(classification_loss)(ol.per_device_params(params, "data"), batch)
        return tx.update(local, state, params, grad_fn=grad_fn)

    with pytest.raises(ValueError, match="the result of grad_fn"):
        on_mesh(step)(params, tx.init(params), jax.tree.map(lambda x: x[0], data))
