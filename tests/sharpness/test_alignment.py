import jax
import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import given, settings
from hypothesis import strategies as st

from optax_lookbehind import lookbehind, sam_perturbation
from optax_lookbehind.sharpness import alignment
from tests.support.closed_forms import flat, quadratic, quadratic_loss
from tests.support.errors import raises

RULE = sam_perturbation(0.7)


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


@settings(max_examples=8, deadline=None)
@given(k=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_alpha_and_cosines_match_numpy(k, seed):
    with jax.enable_x64(True):
        params, batches = quadratic(seed=seed)
        found = alignment(quadratic_loss, params, batches, RULE, k)
    assert found.cosines.shape == (3, k)
    for i, (matrix, linear) in enumerate(zip(*map(np.asarray, batches), strict=True)):
        w = flat(params)
        g = [matrix @ w + linear]
        for _ in range(k):
            w = w + 0.7 * g[-1] / np.linalg.norm(g[-1])
            g.append(matrix @ w + linear)
        expected = [cosine(g[j], g[j + 1]) for j in range(k)]
        np.testing.assert_allclose(found.cosines[i], expected, rtol=1e-10)
        np.testing.assert_allclose(found.alpha[i], (cosine(g[1], sum(g[1:])) + 1) / 2, rtol=1e-10)


def test_alpha_is_the_one_that_lookbehind_uses(float64):
    params, batches = quadratic()

    def grad_fn(params, i):
        return jax.grad(quadratic_loss)(params, jax.tree.map(lambda x: x[0], batches))

    tx = lookbehind(RULE, k=3, alpha="adaptive")
    _, state = tx.update(grad_fn(params, 0), tx.init(params), params, grad_fn=grad_fn)
    found = alignment(quadratic_loss, params, batches, RULE, 3).alpha[0]
    np.testing.assert_allclose(found, optax.tree.get(state, "alpha"), rtol=1e-12)


def test_zero_gradients_count_as_orthogonal():
    found = alignment(lambda w, x: 0 * jnp.sum(w * x), jnp.ones(2), jnp.ones((1, 2)), RULE, 2)
    np.testing.assert_array_equal(found.cosines, [[0, 0]])
    np.testing.assert_array_equal(found.alpha, [0.5])


def test_bad_arguments_raise():
    params, batches = quadratic(dtype=np.float32)
    with raises("k", 0):
        alignment(quadratic_loss, params, batches, RULE, 0)
    with raises("batches"):
        alignment(quadratic_loss, params, (), RULE, 1)
