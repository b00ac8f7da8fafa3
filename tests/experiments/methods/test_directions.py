"""SAM along the last gradient and along a random direction, against the formulas."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.methods.directions import last_gradient_sam, random_direction_sam

CURVATURE = jnp.array([3.0, 0.5, -1.0])
RHO = 0.1


def gradient(params, i=0):
    del i
    return CURVATURE * params + params**2


def steps(tx, params, number, rate=0.1):
    """Params after each step of SGD, and the gradients."""
    state, emitted = tx.init(params), []
    for _ in range(number):
        grads, state = tx.update(gradient(params), state, params, grad_fn=gradient)
        emitted.append(np.asarray(grads))
        params = params - rate * grads
    return params, emitted


def test_the_ascent_follows_the_last_gradient_after_a_plain_step():
    with jax.enable_x64(True):
        params = jnp.array([1.0, -2.0, 0.5])
        _, emitted = steps(last_gradient_sam(RHO), params, 3)
        w, last = np.array([1.0, -2.0, 0.5]), np.zeros(3)
        for grads in emitted:
            ascent = RHO * last / np.linalg.norm(last) if last.any() else last
            last = np.asarray(gradient(w + ascent))
            np.testing.assert_allclose(grads, last, rtol=1e-12)
            w = w - 0.1 * last


def test_a_random_direction_has_length_rho_and_changes_with_every_step():
    with jax.enable_x64(True):
        params, seen = jnp.array([1.0, -2.0, 0.5]), []
        tx = random_direction_sam(RHO, key=3)
        state = tx.init(params)
        for _ in range(3):

            def grad_fn(perturbed, i):
                del i
                seen.append(np.asarray(perturbed - params))
                return gradient(perturbed)

            _, state = tx.update(gradient(params), state, params, grad_fn=grad_fn)
        np.testing.assert_allclose(np.linalg.norm(seen, axis=1), RHO, rtol=1e-12)
        assert np.linalg.matrix_rank(np.stack(seen)) == 3
