"""Every measure: one small program, any dtype, under ``jit`` or not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optax_lookbehind import sam_perturbation, sharpness

RULE = sam_perturbation(0.1)


def loss(params, batch):
    x, y = batch
    hidden = jnp.tanh(x @ params["hidden"])
    return jnp.mean((hidden @ params["out"] - y) ** 2)


def problem(number=3, size=4, dtypes=(jnp.float32, jnp.float32)):
    rng = np.random.default_rng(0)
    params = {
        "hidden": jnp.asarray(rng.normal(size=(16, 32)), dtypes[0]),
        "out": jnp.asarray(rng.normal(size=32), dtypes[1]),
    }
    batches = rng.normal(size=(number, size, 16)), rng.normal(size=(number, size))
    return params, jax.tree.map(lambda x: jnp.asarray(x, dtypes[0]), batches)


# Name -> (loss function, params, batches, numbers to measure at) -> what is measured
MEASURES = {
    "m_sharpness": lambda f, w, b, at: sharpness.m_sharpness(f, w, b, at),
    "m_sharpness_steps": lambda f, w, b, at: sharpness.m_sharpness(f, w, b, at, "asam", 3),
    "noise_robustness": lambda f, w, b, at: sharpness.noise_robustness(f, w, b, at, draws=2),
    "hessian_vector_product": lambda f, w, b, at: sharpness.hessian_vector_product(f, w, b, w),
    "hessian_eigenvalues": lambda f, w, b, at: sharpness.hessian_eigenvalues(f, w, b, iterations=3),
    "hessian_trace": lambda f, w, b, at: sharpness.hessian_trace(f, w, b, samples=2),
    "gradient_statistics": lambda f, w, b, at: sharpness.gradient_statistics(f, w, b),
    "loss_line": lambda f, w, b, at: sharpness.loss_line(f, w, b, w, at),
    "loss_plane": lambda f, w, b, at: sharpness.loss_plane(f, w, b, w, w, at, at),
    "loss_between": lambda f, w, b, at: sharpness.loss_between(f, w, w, b, at),
    "alignment": lambda f, w, b, at: sharpness.alignment(f, w, b, RULE, 2),
}
measures = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())


@pytest.fixture(params=MEASURES.values(), ids=MEASURES.keys(), scope="module")
def under_jit(request):
    """A measure, and the program that it becomes under ``jit``."""
    program = jax.jit(functools.partial(request.param, loss))
    return request.param, program.lower(*problem(2000), np.ones(3, np.float32)).compile()


def test_any_number_of_points_and_checkpoints_is_one_program(under_jit, compilations):
    measure, inside = under_jit
    params, batches = problem(2000)
    others = jax.tree.map(lambda w: w + 1, params)
    first, second = np.float32([0.1, 0.2, 0.3]), np.float32([0.4, 0.5, 0.6])
    jax.random.split(jax.random.key(0), 2)  # a program of its own

    with compilations() as count:
        measure(loss, params, batches, first)
    assert count == [1]
    with compilations() as count:
        outside = measure(loss, others, batches, second)
    assert count == [0]
    same = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6)
    jax.tree.map(same, inside(others, batches, second), outside)


def test_memory_does_not_grow_with_the_number_of_minibatches(under_jit):
    _, program = under_jit
    # The minibatches are 0.5 MB and their gradients 4.4 MB; those of one minibatch 2.5 kB.
    assert program.memory_analysis().argument_size_in_bytes > 500_000
    assert program.memory_analysis().temp_size_in_bytes < 60_000


@measures
def test_results_are_float32_or_wider_whatever_the_mixture_of_weights(measure, float64):
    params, batches = problem(dtypes=(jnp.bfloat16, jnp.float64))
    found = jax.tree.leaves(measure(loss, params, batches, [0.1, 0.2]))
    assert {leaf.dtype for leaf in found} <= {jnp.dtype(jnp.float32), jnp.dtype(jnp.float64)}
    assert all(np.isfinite(leaf).all() for leaf in found)


def test_bfloat16_measures_what_float32_does():
    half, half_batches = problem(dtypes=(jnp.bfloat16, jnp.bfloat16))
    full, batches = jax.tree.map(lambda x: x.astype(jnp.float32), (half, half_batches))
    radii = [0.5, 1.0]
    found = sharpness.m_sharpness(loss, half, half_batches, radii, "asam", steps=2)
    expected = sharpness.m_sharpness(loss, full, batches, radii, "asam", steps=2)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=0.1)
