"""Rewritten convolutions keep their values, whatever their kind, and become canonical."""

import functools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from tests.support.convolutions import (
    VARIANTS,
    assert_canonical,
    batch_groups,
    check,
    conv,
    in_loop,
    normal,
    problem,
    slow,
)

FAST = {"2d", "all_at_once", "depthwise", "grouped_nchw", "batch_grouped"}


@pytest.mark.parametrize("variant", [name if name in FAST else slow(name) for name in VARIANTS])
def test_gradients_keep_their_values_and_become_canonical(variant):
    image, kernel, options = VARIANTS[variant]
    text = check(*problem(normal(*image), normal(*kernel, seed=1), **options))
    assert_canonical(text)
    # XLA's own rewrite is the better one for the kernel gradient of a depthwise convolution.
    assert batch_groups(text) == ({1, 4} if variant in {"depthwise", "depthwise_1d"} else {1})


@pytest.mark.parametrize("dtype", [jnp.bfloat16, slow(jnp.float16)])
@pytest.mark.parametrize("preferred", [None, slow(jnp.float32)])
def test_low_precision_keeps_its_types_and_values(dtype, preferred):
    if preferred and jax.__version_info__ < (0, 10):
        pytest.skip("jax.grad itself refuses mixed types before 0.10")
    x, kernel = normal(2, 6, 5, 4, dtype=dtype), normal(3, 3, 2, 4, dtype=dtype, seed=1)
    options = {"preferred_element_type": preferred, "feature_group_count": 2}
    check(*problem(x, kernel, **options), tolerance=float(jnp.finfo(dtype).eps))


def test_float64_and_complex_numbers_keep_their_values(float64):
    grad_fn, params = problem(normal(2, 6, 3, dtype=float), normal(3, 3, 4, dtype=float, seed=1))
    check(grad_fn, params, tolerance=1e-13)
    x, w = normal(4, 6, 3, dtype=complex), normal(3, 3, 4, dtype=complex, seed=1) * 1j
    convolve = functools.partial(conv, layout=("WNC", "WIO", "NWC"), batch_group_count=2)
    actual = jax.jit(in_loop(lambda w, i: convolve(x, w)))(w, 0)
    np.testing.assert_allclose(actual, convolve(x, w), rtol=1e-13, atol=1e-13)


@st.composite
def any_convolution(draw):
    """Two operands and options that XLA accepts: any layout, groups, strides, padding, dilation."""
    small = st.integers(1, 3)
    n = draw(small)
    groups, kind = draw(small), draw(st.sampled_from(["feature_group_count", "batch_group_count"]))
    batch, inside, outside = draw(small), draw(small), draw(small) * groups
    per_batch, per_feature = (groups, 1) if kind == "batch_group_count" else (1, groups)
    kernel = [draw(small) for _ in range(n)]
    image = [draw(st.integers(2 * size, 7)) for size in kernel]
    dimensions = [st.permutations(range(n + 2)) for _ in range(3)]
    lhs_spec, rhs_spec, out_spec = (tuple(draw(order)) for order in dimensions)
    sizes = (batch * per_batch, inside * per_feature, *image)
    lhs = np.empty(n + 2, int)
    lhs[list(lhs_spec)] = sizes
    rhs = np.empty(n + 2, int)
    rhs[list(rhs_spec)] = (outside, inside, *kernel)
    options = {
        "layout": lax.ConvDimensionNumbers(lhs_spec, rhs_spec, out_spec),
        "stride": draw(small),
        "padding": draw(st.integers(0, 2)),
        "lhs_dilation": draw(small),
        "rhs_dilation": draw(st.integers(1, 2)),
        kind: groups,
    }
    return tuple(lhs), tuple(rhs), options


@pytest.mark.slow
@settings(max_examples=15, deadline=None, derandomize=True)
@given(any_convolution())
def test_any_convolution_keeps_its_values(case):
    lhs, rhs, options = case
    x, w = normal(*lhs), normal(*rhs, seed=1)
    convolve = functools.partial(conv, **options)
    actual = in_loop(lambda w, i: convolve(x, w))(w, 0)
    np.testing.assert_allclose(actual, convolve(x, w), rtol=1e-5, atol=1e-5)


class NNXNet(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.strided = nnx.Conv(4, 4, (3, 3), strides=2, feature_group_count=4, rngs=rngs)
        self.transposed = nnx.ConvTranspose(4, 2, (2, 2), strides=2, rngs=rngs)

    def __call__(self, x):
        x = jax.nn.relu(self.norm(self.conv(x)))
        return self.transposed(jax.nn.gelu(self.strided(x)))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), feature_group_count=2)(nn.Conv(4, (3, 3), (2, 2))(x))
        x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        return nn.remat(nn.ConvTranspose)(2, (2, 2))(x)


def nnx_problem():
    graph, params, rest = nnx.split(NNXNet(nnx.Rngs(0)), nnx.Param, ...)
    x = normal(2, 6, 6, 3)

    def loss(params):
        return jnp.mean(nnx.merge(graph, params, rest, copy=True)(x) ** 2)

    return lambda params, i: jax.grad(loss)(params), params


def linen_problem():
    x = normal(2, 6, 6, 3)
    variables = LinenNet().init(jax.random.key(0), x)

    def loss(params):
        state = variables | {"params": params}
        return jnp.mean(LinenNet().apply(state, x, mutable=["batch_stats"])[0] ** 2)

    return lambda params, i: jax.grad(loss)(params), variables["params"]


def equinox_problem(n):
    keys = jax.random.split(jax.random.key(0), 3)
    layers = eqx.nn.Sequential(
        [
            getattr(eqx.nn, f"Conv{n}d")(2, 4, 3, padding=1, key=keys[0]),
            eqx.nn.BatchNorm(4, axis_name="batch", mode="batch"),
            eqx.nn.Lambda(jax.nn.relu),
            getattr(eqx.nn, f"Conv{n}d")(4, 4, 3, stride=2, groups=2, key=keys[1]),
            getattr(eqx.nn, f"ConvTranspose{n}d")(4, 2, 2, stride=2, key=keys[2]),
        ]
    )
    state = eqx.nn.State(layers)
    params, static = eqx.partition(layers, eqx.is_inexact_array)
    x = normal(2, 2, *(6, 5, 4)[:n])

    def loss(params):
        model = jax.vmap(eqx.combine(params, static), (0, None), (0, None), axis_name="batch")
        return jnp.mean(model(x, state)[0] ** 2)

    return lambda params, i: jax.grad(loss)(params), params


MODELS = {
    "nnx": nnx_problem,
    "linen": linen_problem,
    "equinox_1d": functools.partial(equinox_problem, 1),
    "equinox_2d": functools.partial(equinox_problem, 2),
    "equinox_3d": functools.partial(equinox_problem, 3),
}


@pytest.mark.parametrize("model", [name if name == "nnx" else slow(name) for name in MODELS])
def test_stock_layers_keep_their_gradients_and_become_canonical(model):
    grad_fn, params = MODELS[model]()
    assert_canonical(check(grad_fn, params))
