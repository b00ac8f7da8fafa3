"""Every method under ``jax_numpy_dtype_promotion="strict"``, with weights in bfloat16."""

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.extend.core import jaxprs_in_params

import optax_lookbehind as ol
from tests.support.problems import batches, network, optimizers

# Adam itself, optax's, fails under strict promotion.
WITHOUT_ADAM = {
    "lookbehind_adam": ol.lookbehind_asam(2, 0.5, 0.5, fast_optimizer=optax.sgd(0.1)),
    "wsam_decoupled": ol.wsam_decoupled(optax.sgd(0.1), 0.1, 0.05),
}
METHODS = optimizers() | WITHOUT_ADAM


def operations(jaxpr):
    """Name and result types of every operation, inner ones included."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name, [str(result.aval) for result in equation.outvars]
        for inner in jaxprs_in_params(equation.params):
            yield from operations(inner)


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_weights_under_strict_promotion(name):
    params, loss_fn = network(dtype=jnp.bfloat16)
    batch = jax.tree.map(lambda x: x[0], batches(number=1, dtype=jnp.bfloat16))
    grad_fn = lambda params, i: jax.grad(loss_fn)(params, batch)
    tx = METHODS[name]

    def step(params, state):
        updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    programs = []
    for promotion in ("standard", "strict"):
        with jax.numpy_dtype_promotion(promotion):
            # The program is the same one, to the last operation.
            state = tx.init(params)
            programs.append(list(operations(jax.make_jaxpr(step)(params, state).jaxpr)))
    assert programs[0] == programs[1]
    updated, _ = jax.eval_shape(step, params, state)
    assert {w.dtype for w in jax.tree.leaves(updated)} == {jnp.dtype(jnp.bfloat16)}


def test_a_mistake_in_the_users_own_arithmetic_still_raises():
    params = jnp.ones(2, jnp.bfloat16)
    tx = ol.sam(0.1)
    grad_fn = lambda params, i: params * jnp.ones(2, jnp.float32)
    with jax.numpy_dtype_promotion("strict"), pytest.raises(ValueError, match="promotion"):
        tx.update(params, tx.init(params), params, grad_fn=grad_fn)
