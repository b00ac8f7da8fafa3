"""Gradient functions with convolutions, and what to hold against their rewritten forms."""

import collections
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from optax_lookbehind._core.cpu_convolutions import call_in_loop

slow = functools.partial(pytest.param, marks=pytest.mark.slow)

LAYOUTS = {
    1: ("NWC", "WIO", "NWC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NDHWC", "DHWIO", "NDHWC"),
}


def in_loop(fn):
    """``fn`` as the library calls it in loops."""
    return functools.partial(call_in_loop, fn)


def normal(*shape, dtype=jnp.float32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype) / 4


def conv(x, w, layout=None, stride=1, padding=1, lhs_dilation=1, rhs_dilation=1, **options):
    """A convolution with the same stride, padding and dilation along each spatial dimension."""
    n = x.ndim - 2
    return lax.conv_general_dilated(
        x,
        w,
        (stride,) * n,
        ((padding, padding),) * n,
        (lhs_dilation,) * n,
        (rhs_dilation,) * n,
        layout or LAYOUTS[n],
        **options,
    )


def gradient(x, **options):
    """The gradient function of a two-layer problem: ``conv`` after a dense layer on ``x``."""

    def loss(params):
        hidden = jnp.tanh(x * params["scale"])
        return jnp.mean(jnp.sin(conv(hidden, params["kernel"], **options).astype(jnp.float32)))

    return lambda params, i: jax.grad(loss)(params)


def problem(x, kernel, **options):
    """A gradient function and the weights to call it at."""
    return gradient(x, **options), {"kernel": kernel, "scale": jnp.ones(x.shape[1:], x.dtype)}


def descend(grad_fn, params, steps=2):
    """Gradient descent in a loop body, as the library takes its gradients."""

    def body(params, i):
        step = jax.tree.map(lambda p, g: p - 0.1 * g, params, grad_fn(params, i))
        return step, None

    return lax.scan(body, params, jnp.arange(steps))[0]


def assert_same(actual, expected, tolerance=1e-5):
    """Equal up to ``tolerance`` of the largest number in the tree: some gradients are zero."""
    largest = max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(expected))

    def same(a, b):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * largest)

    jax.tree.map(same, actual, expected)


def lower(grad_fn, params, platform="cpu"):
    traced = jax.jit(functools.partial(descend, grad_fn)).trace(params)
    return traced.lower(lowering_platforms=(platform,))


def check(grad_fn, params, tolerance=1e-5):
    """Equal training with and without the rewrite; the StableHLO text with it."""
    fast, slow = lower(in_loop(grad_fn), params), lower(grad_fn, params)
    quick = {"xla_backend_optimization_level": 0}  # to compile
    actual, expected = (each.compile(compiler_options=quick)(params) for each in (fast, slow))
    assert_same(actual, expected, tolerance)
    return fast.as_text()


def convolutions(text):
    """The number of occurrences of each form of convolution in a StableHLO text."""
    forms = re.findall(r"dim_numbers = (\[.*?\]x\[.*?\]->\[.*?\])", text)
    assert forms
    return collections.Counter(forms)


def batch_groups(text):
    return {int(groups) for groups in re.findall(r"batch_group_count = (\d+)", text)}


def assert_canonical(text):
    """Images as batch, spatial..., feature; kernels as spatial..., in, out."""
    for form in convolutions(text):
        n = form.count(", ") // 3 - 1
        spatial = "".join(f"{dim}, " for dim in range(n))
        assert form == f"[b, {spatial}f]x[{spatial}i, o]->[b, {spatial}f]"


VARIANTS = {
    "1d": ((2, 9, 3), (3, 3, 4), {}),
    "2d": ((2, 6, 5, 3), (3, 3, 3, 4), {}),
    "3d": ((2, 5, 4, 3, 2), (3, 3, 3, 2, 3), {}),
    "strided": ((2, 7, 6, 3), (3, 3, 3, 4), {"stride": 2}),
    "rhs_dilated": ((2, 7, 6, 3), (3, 3, 3, 4), {"rhs_dilation": 2}),
    "lhs_dilated": ((2, 5, 4, 3), (3, 3, 3, 4), {"lhs_dilation": 2}),
    "all_at_once": (
        (2, 8, 7, 4),
        (2, 3, 2, 4),
        {"stride": 2, "lhs_dilation": 3, "rhs_dilation": 2, "feature_group_count": 2},
    ),
    "nchw": ((2, 3, 6, 5), (4, 3, 3, 3), {"layout": ("NCHW", "OIHW", "NCHW")}),
    "mixed_layout": ((6, 2, 3, 5), (3, 4, 3, 3), {"layout": ("HNCW", "IOWH", "CWNH")}),
    "grouped": ((2, 6, 5, 4), (3, 3, 2, 6), {"feature_group_count": 2}),
    "depthwise": ((2, 6, 5, 4), (3, 3, 1, 4), {"feature_group_count": 4}),
    "depthwise_multiplier": ((2, 6, 5, 4), (3, 3, 1, 8), {"feature_group_count": 4}),
    "depthwise_1d": ((2, 9, 4), (3, 1, 4), {"feature_group_count": 4}),
    "grouped_3d": ((2, 4, 4, 3, 4), (3, 3, 3, 2, 4), {"feature_group_count": 2}),
    "grouped_nchw": (
        (2, 4, 6, 5),
        (6, 2, 3, 3),
        {"feature_group_count": 2, "layout": ("NCHW", "OIHW", "NCHW")},
    ),
    "batch_grouped": ((4, 6, 5, 3), (3, 3, 3, 4), {"batch_group_count": 2}),
    "precision": ((2, 6, 5, 3), (3, 3, 3, 4), {"precision": lax.Precision.HIGHEST}),
    "preferred_type": ((2, 6, 5, 3), (3, 3, 3, 4), {"preferred_element_type": jnp.float32}),
}
