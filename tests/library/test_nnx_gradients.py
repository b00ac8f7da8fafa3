"""Gradients of NNX with and without their ``Param`` around the arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import optax_lookbehind as ol

X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)), jnp.float32)


def loss_fn(model):
    return jnp.mean((model(X) - 1) ** 2)


@pytest.mark.parametrize("outer", [lambda tree: tree, nnx.as_pure], ids=["Param", "arrays"])
@pytest.mark.parametrize("inner", [lambda tree: tree, nnx.as_pure], ids=["Param", "arrays"])
def test_variables_around_the_arrays_of_a_gradient_do_not_matter(outer, inner):
    graphdef, state = nnx.split(nnx.Linear(4, 2, rngs=nnx.Rngs(0)))
    params, tx = outer(state), ol.lookbehind_sam(2, 0.05, "adaptive")

    def grad_fn(params, i):
        return inner(nnx.grad(loss_fn)(nnx.merge(graphdef, params)))

    grads = outer(nnx.grad(loss_fn)(nnx.merge(graphdef, state)))
    updates, _ = tx.update(grads, tx.init(params), params, grad_fn=grad_fn)
    assert jax.tree.structure(updates) == jax.tree.structure(grads)
    expected, _ = tx.update(
        nnx.as_pure(grads),
        tx.init(nnx.as_pure(state)),
        nnx.as_pure(state),
        grad_fn=lambda p, i: nnx.as_pure(grad_fn(p, i)),
    )
    for a, b in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_the_first_gradient_must_be_like_the_weights():
    _, state = nnx.split(nnx.Linear(4, 2, rngs=nnx.Rngs(0)))
    tx, pure = ol.sam(0.05), nnx.as_pure(state)
    with pytest.raises(ValueError, match=r"^updates .*nnx\.as_pure"):
        tx.update(state, tx.init(pure), pure, grad_fn=lambda p, i: p)
