import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optax_lookbehind.sharpness import (
    hessian_eigenvalues,
    hessian_trace,
    hessian_vector_product,
)
from tests.support.closed_forms import flat, quadratic, quadratic_loss
from tests.support.errors import raises


def diagonal_loss(w, a):
    return jnp.sum(a * w**2) / 2


def test_the_hessian_vector_product_is_the_mean_over_minibatches(float64):
    params, batches = quadratic()
    vector = jax.tree.map(lambda w: jnp.cos(w) + 2, params)
    found = hessian_vector_product(quadratic_loss, params, batches, vector)
    expected = np.asarray(batches[0]).mean(axis=0) @ flat(vector)
    np.testing.assert_allclose(flat(found), expected, rtol=1e-12)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), key=st.integers(0, 100))
def test_eigenvalues_are_those_of_numpy(seed, key):
    with jax.enable_x64(True):
        params, batches = quadratic(seed=seed)
        found = hessian_eigenvalues(quadratic_loss, params, batches, 5, key=key)
    expected = np.linalg.eigvalsh(np.asarray(batches[0]).mean(axis=0))[::-1]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_negative_curvature_is_found(float64):
    w, a = jnp.ones(3), jnp.array([[-1.0, 2.0, -5.0]])
    np.testing.assert_allclose(hessian_eigenvalues(diagonal_loss, w, a, 3), [2, -1, -5], rtol=1e-9)


def test_few_iterations_find_the_largest_eigenvalue_of_many():
    # A spectrum like a network's: a few outliers above a bulk.
    a = np.concatenate([[50.0, 20.0], np.linspace(0, 1, 998)])
    found = hessian_eigenvalues(
        diagonal_loss, jnp.ones(1000), jnp.asarray(a[None], jnp.float32), 2, iterations=15
    )
    np.testing.assert_allclose(found, [50, 20], rtol=1e-4)


@pytest.mark.parametrize(
    ("a", "distinct"), [([3.0] * 6, [3]), ([7.0, 0, 0, 0, 0, 0], [7, 0]), ([0.0] * 6, [0])]
)
def test_eigenvalues_that_one_vector_cannot_tell_apart_are_found_once_or_more(a, distinct):
    found = np.asarray(hessian_eigenvalues(diagonal_loss, jnp.ones(6), jnp.asarray([a]), 6))
    np.testing.assert_allclose(found[: len(distinct)], distinct, atol=1e-5)
    rest = found[len(distinct) :]
    np.testing.assert_allclose(rest[np.isfinite(rest)], distinct[-1], atol=1e-5)


def test_a_nan_loss_gives_nan():
    found = hessian_eigenvalues(lambda w, a: jnp.nan * jnp.sum(w**2), jnp.ones(4), jnp.ones(1))
    assert np.isnan(found).all()


def test_the_trace_of_a_diagonal_hessian_is_exact(float64):
    a = jnp.array([[1.0, -2.0, 5.0], [3.0, 0.0, 1.0]])
    trace, error = hessian_trace(diagonal_loss, jnp.ones(3), a, samples=5)
    np.testing.assert_allclose([trace, error], [4, 0], atol=1e-12)


def test_the_trace_matches_numpy_within_its_standard_error(float64):
    params, batches = quadratic()
    matrix = np.asarray(batches[0]).mean(axis=0)
    trace, error = hessian_trace(quadratic_loss, params, batches, samples=4000)
    assert abs(trace - np.trace(matrix)) < 4 * error
    off_diagonal = matrix - np.diag(np.diag(matrix))
    expected = np.sqrt(2 * np.sum(off_diagonal**2) / 4000)  # the variance of v H v over 4000
    np.testing.assert_allclose(error, expected, rtol=0.1)


@pytest.mark.parametrize("measure", [hessian_eigenvalues, hessian_trace])
def test_missing_matfree_error_shows_the_pip_command(measure, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matfree"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matfree", None)
    with pytest.raises(ImportError, match=r'pip install "optax-lookbehind\[curvature\]"'):
        measure(diagonal_loss, jnp.ones(3), jnp.ones((1, 3)))


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        ({"num_eigenvalues": 0}, "num_eigenvalues", 0),
        ({"num_eigenvalues": 4}, "num_eigenvalues", 4),
        ({"num_eigenvalues": 2, "iterations": 1}, "num_eigenvalues", 2),
        ({"iterations": 1.5}, "iterations", 1.5),
    ],
)
def test_bad_numbers_raise(arguments, name, value):
    with raises(name, value):
        hessian_eigenvalues(diagonal_loss, jnp.ones(3), jnp.ones((1, 3)), **arguments)


def test_other_bad_arguments_raise():
    with raises("samples", 0):
        hessian_trace(diagonal_loss, jnp.ones(3), jnp.ones((1, 3)), samples=0)
    with raises("batches"):
        hessian_trace(diagonal_loss, jnp.ones(3), ())
    with raises("vector"):
        hessian_vector_product(diagonal_loss, jnp.ones(3), jnp.ones((1, 3)), jnp.ones(4))
