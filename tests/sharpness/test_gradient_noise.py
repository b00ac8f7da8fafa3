import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optax_lookbehind.sharpness import gradient_statistics
from tests.support.closed_forms import gradients, quadratic, quadratic_loss
from tests.support.errors import raises


@settings(max_examples=10, deadline=None)
@given(number=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_statistics_are_those_of_numpy(number, seed):
    with jax.enable_x64(True):
        params, batches = quadratic(number, seed)
        squared_norms, variance, squared_norm = gradient_statistics(quadratic_loss, params, batches)
    g = gradients(params, batches)
    np.testing.assert_allclose(squared_norms, np.sum(g**2, axis=1), rtol=1e-11)
    np.testing.assert_allclose(variance, np.sum(np.var(g, axis=0)), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(squared_norm, np.sum(np.mean(g, axis=0) ** 2), rtol=1e-11)
    np.testing.assert_allclose(
        np.asarray(squared_norms).mean(), squared_norm + variance, rtol=1e-11
    )


def test_a_small_variance_around_a_large_mean_survives_float32():
    # The difference of mean squares would be rounding errors alone: 1e6 against 1e-2.
    noise = np.random.default_rng(0).normal(size=(50, 1)) / 10
    found = gradient_statistics(
        lambda w, b: jnp.sum(w * (1e3 + b)), jnp.ones(1), jnp.asarray(noise)
    )
    np.testing.assert_allclose(found.variance, np.var(noise), rtol=1e-2)


def test_bad_batches_are_named():
    with raises("batches"):
        gradient_statistics(quadratic_loss, jnp.ones(3), (np.ones((2, 3)), np.ones((3, 3))))
