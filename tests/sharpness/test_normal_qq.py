import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from optax_lookbehind.sharpness import normal_qq
from tests.support.errors import raises


@pytest.mark.parametrize("size", [2, 3, 40])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_quantiles_and_line_match_scipy(size, data):
    numbers = st.integers(-1000, 1000)
    values = data.draw(hnp.arrays(np.float64, size, elements=numbers, unique=True))
    with jax.enable_x64(True):
        qq = normal_qq(values)
    (theoretical, ordered), (slope, intercept, correlation) = scipy.stats.probplot(values)
    np.testing.assert_allclose(qq.theoretical, theoretical, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(qq.ordered, ordered)
    np.testing.assert_allclose(
        qq[2:], (slope, intercept, correlation), rtol=1e-9, atol=1e-9 * np.max(np.abs(values))
    )


def test_float32_and_integers_work_too():
    values = np.random.default_rng(0).gamma(2, size=300).astype(np.float32)
    (theoretical, _), (_, _, correlation) = scipy.stats.probplot(values)
    qq = normal_qq(values)
    np.testing.assert_allclose(qq.theoretical, theoretical, atol=1e-4)
    np.testing.assert_allclose(qq.correlation, correlation, rtol=1e-5)
    assert normal_qq(jnp.array([3, 1, 2])).slope > 0


@pytest.mark.parametrize("values", [1.0, [1.0], [[1.0, 2.0]]])
def test_values_must_be_a_vector_of_two_or_more(values):
    with raises("values"):
        normal_qq(values)
