"""Weights and gradients of any size and sign: the result of NumPy in float64."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optax_lookbehind as ol

quick = functools.partial(settings, deadline=None, derandomize=True, database=None)

# Gradients a w + b with w and b of the same sign, so that nothing cancels. The exponents stay away
# from those at which a square is subnormal in float32.
SIZES = st.sampled_from([0.0, 1e-30, 1e-12, 1e-6, 0.25, 1.0, 3.0, 1e6, 1e12, 1e25])
BROKEN = st.sampled_from([0.0, 1.0, -2.0, 1e6, math.nan, math.inf, -math.inf])
TINY, HUGE = 1e-17, 1e17  # the norms of which float32 holds the square


def elements(sizes, number=4):
    return st.lists(sizes, min_size=number, max_size=number).map(np.array)


@st.composite
def problems(draw):
    """Weights, and slope and offset of their gradient, of one scale."""
    sign = draw(elements(st.sampled_from([-1.0, 1.0])))
    w = sign * draw(elements(st.sampled_from([0.0, 1e-3, 0.5, 1.0, 7.0, 300.0])))
    scale = draw(SIZES)
    a = scale * draw(elements(st.sampled_from([0.0, 0.1, 1.0, 5.0])))
    b = scale * sign * draw(elements(st.sampled_from([0.0, 0.5, 1.0, 2.0])))
    return w, a, b


RADII = st.sampled_from([1e-10, 1e-3, 0.05, 1.0, 100.0])


def sam_perturbation(g, rho):
    """SAM's perturbation in float64; zero where float32 cannot hold the squared norm."""
    with np.errstate(all="ignore"):
        length = np.sqrt(np.sum(np.square(g)))
        if np.isfinite(length) and not TINY < length < HUGE:
            return np.zeros_like(g)
        return rho * g * (1 / length)


def ascend(problem, rho, k):
    """The gradients g_0 ... g_k."""
    w, a, b = problem
    with np.errstate(all="ignore"):
        p, gradients = w, [a * w + b]
        for _ in range(k):
            p = p + sam_perturbation(gradients[-1], rho)
            gradients.append(a * p + b)
    return gradients


def emitted(tx, problem, steps=1):
    """What the method emits in each step at the same weights."""
    w, a, b = (jnp.asarray(x, jnp.float32) for x in problem)
    params = {"first": w[:3], "second": w[3]}

    def grad_fn(params, i):
        x = jnp.append(params["first"], params["second"])
        g = a * x + b
        return {"first": g[:3], "second": g[3]}

    state, results = tx.init(params), []
    for _ in range(steps):
        updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
        results.append(jnp.append(updates["first"], updates["second"]))
    return jnp.stack(results)


METHODS = {
    "sam": (lambda rho: ol.sam(rho), lambda g: g[1]),
    "multistep": (lambda rho: ol.multistep_sam(3, rho), lambda g: g[3]),
    "mean": (lambda rho: ol.multistep_sam(2, rho, average=True), lambda g: (g[1] + g[2]) / 2),
    "lookbehind": (lambda rho: ol.lookbehind_sam(2, rho, 0.5), lambda g: (g[1] + g[2]) / 2),
    "gnp": (lambda rho: ol.gnp(rho, 0.8), lambda g: 0.2 * g[0] + 0.8 * g[1]),
}
COMPILED = {
    name: jax.jit(lambda problem, rho, make=make: emitted(make(rho), problem)[0])
    for name, (make, _) in METHODS.items()
}


@pytest.mark.parametrize("name", METHODS)
@quick(max_examples=60)
@given(problem=problems(), rho=RADII)
def test_gradients_of_any_size_match_float64(name, problem, rho):
    _, reference = METHODS[name]
    expected = reference(ascend(problem, rho, 3))
    found = np.asarray(COMPILED[name](problem, np.float32(rho)), np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-37)


@pytest.mark.parametrize("name", METHODS)
@quick(max_examples=30)
@given(w=elements(BROKEN), b=elements(BROKEN), rho=RADII)
def test_what_is_not_finite_stays_visible(name, w, b, rho):
    """No NaN or infinity of a gradient turns into a number."""
    gradients = ascend((w, np.ones(4), b), rho, 3)
    found = np.asarray(COMPILED[name]((w, np.ones(4), b), np.float32(rho)))
    broken = ~np.isfinite(gradients[0])
    assert not np.isfinite(found[broken]).any()


@quick(max_examples=60)
@given(problem=problems(), rho=RADII)
def test_looksams_plain_steps_match_float64(problem, rho):
    g, u = ascend(problem, rho, 1)
    with np.errstate(all="ignore"):
        length = np.linalg.norm(g)
        v = u - (u @ g / (g @ g) if length else 0) * g
        found = np.asarray(looksam(problem, np.float32(rho)), np.float64)
    np.testing.assert_allclose(found[0], u, rtol=1e-4, atol=1e-37)
    if not TINY < length < HUGE:
        return
    noise = 1e-4 * np.linalg.norm(u)
    if np.linalg.norm(v) > noise:  # a direction that float32 knows to a few digits
        direction = v / np.linalg.norm(v)
        tolerance = 3e-6 * np.linalg.norm(u) / np.linalg.norm(v)
        np.testing.assert_allclose(
            found[1], g + 0.5 * length * direction, atol=max(tolerance, 1e-4) * length
        )
    if np.linalg.norm(v) <= 1e-9 * np.linalg.norm(u):  # parallel
        np.testing.assert_allclose(found[1], g, rtol=1e-5)


looksam = jax.jit(lambda problem, rho: emitted(ol.looksam(rho, 0.5, period=2), problem, steps=2))
