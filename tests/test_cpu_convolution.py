import collections
import functools
import itertools
import re

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
from jax.sharding import AxisType, PartitionSpec

from optax_lookbehind._cpu_convolution import fast_in_loops

LAYOUTS = {
    1: ("NWC", "WIO", "NWC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NDHWC", "DHWIO", "NDHWC"),
}


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
    fast, slow = lower(fast_in_loops(grad_fn), params), lower(grad_fn, params)
    quick = {"xla_backend_optimization_level": 0}  # to compile
    actual, expected = (each.compile(compiler_options=quick)(params) for each in (fast, slow))
    assert_same(actual, expected, tolerance)
    return fast.as_text()


def convolutions(text):
    """How often each form of convolution occurs in a StableHLO text."""
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


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_keep_their_values_and_become_canonical(variant):
    image, kernel, options = VARIANTS[variant]
    text = check(*problem(normal(*image), normal(*kernel, seed=1), **options))
    assert_canonical(text)
    # XLA's own rewrite is the better one for the kernel gradient of a depthwise convolution.
    assert batch_groups(text) == ({1, 4} if variant in {"depthwise", "depthwise_1d"} else {1})


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("preferred", [None, jnp.float32])
def test_low_precision_keeps_its_types_and_values(dtype, preferred):
    x, kernel = normal(2, 6, 5, 4, dtype=dtype), normal(3, 3, 2, 4, dtype=dtype, seed=1)
    options = {"preferred_element_type": preferred, "feature_group_count": 2}
    check(*problem(x, kernel, **options), tolerance=float(jnp.finfo(dtype).eps))


def test_float64_and_complex_numbers_keep_their_values(float64):
    grad_fn, params = problem(normal(2, 6, 3, dtype=float), normal(3, 3, 4, dtype=float, seed=1))
    check(grad_fn, params, tolerance=1e-13)
    x, w = normal(4, 6, 3, dtype=complex), normal(3, 3, 4, dtype=complex, seed=1) * 1j
    convolve = functools.partial(conv, layout=("WNC", "WIO", "NWC"), batch_group_count=2)
    actual = jax.jit(fast_in_loops(lambda w, i: convolve(x, w)))(w, 0)
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


@settings(max_examples=15, deadline=None, derandomize=True)
@given(any_convolution())
def test_any_convolution_keeps_its_values(case):
    lhs, rhs, options = case
    x, w = normal(*lhs), normal(*rhs, seed=1)
    convolve = functools.partial(conv, **options)
    actual = fast_in_loops(lambda w, i: convolve(x, w))(w, 0)
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


@pytest.mark.parametrize("model", MODELS)
def test_stock_layers_keep_their_gradients_and_become_canonical(model):
    grad_fn, params = MODELS[model]()
    assert_canonical(check(grad_fn, params))


@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
@pytest.mark.parametrize("variant", ["2d", "nchw", "grouped", "batch_grouped"])
def test_accelerators_get_the_convolutions_as_written(platform, variant):
    image, kernel, options = VARIANTS[variant]
    grad_fn, params = problem(normal(*image), normal(*kernel, seed=1), **options)
    as_written, fast = (
        lower(f, params, platform).as_text() for f in (grad_fn, fast_in_loops(grad_fn))
    )
    assert convolutions(fast) == convolutions(as_written)
    assert batch_groups(fast) == batch_groups(as_written)
    assert fast.count("stablehlo.transpose") == as_written.count("stablehlo.transpose")


def test_the_platform_is_not_chosen_at_run_time():
    grad_fn, params = problem(normal(2, 6, 5, 3), normal(3, 3, 3, 4))
    assert "conditional" not in lower(fast_in_loops(grad_fn), params).compile().as_text()


def test_a_function_without_convolutions_is_the_same_program():
    def grad_fn(params, i):
        return jax.grad(lambda p: jnp.sum(jnp.tanh(p @ p)))(params)

    params = normal(3, 3)
    jaxpr = jax.make_jaxpr(fast_in_loops(grad_fn))(params, 0)
    assert str(jaxpr.eqns[0].params["jaxpr"]) == str(
        jax.make_jaxpr(lambda params: grad_fn(params, 0))(params)
    )


def test_one_trace_per_call():
    traces = itertools.count()
    grad_fn, params = problem(normal(2, 6, 3), normal(3, 3, 4))

    def counted(params, i):
        next(traces)
        return grad_fn(params, i)

    jax.make_jaxpr(lambda params: fast_in_loops(counted)(params, 0))(params)
    assert next(traces) == 1


CALLS = {
    "jit": jax.jit,
    "remat": jax.checkpoint,
    "remat_jit": lambda f: jax.checkpoint(jax.jit(f)),
    "scan": lambda f: lambda x, w: lax.scan(lambda c, _: (f(c, w), None), x, length=2)[0],
    "while": lambda f: lambda x, w: lax.fori_loop(0, jnp.int32(2), lambda _, c: f(c, w), x),
    "cond": lambda f: lambda x, w: lax.cond(jnp.sum(x) > 0, f, lambda x, w: x, x, w),
    "vmap": lambda f: jax.vmap(lambda x, w: f(x[None], w)[0], (0, None)),
}


@pytest.mark.parametrize("call", CALLS)
def test_convolutions_inside_calls_loops_and_branches_are_found(call):
    x = jnp.abs(normal(2, 6, 3))
    inner = CALLS[call](functools.partial(conv, layout=("NWC", "OIW", "NWC")))

    def grad_fn(w, i):
        out = inner(x, w)
        return (
            w + jnp.mean(out)
            if call == "while"
            else w + jax.grad(lambda w: jnp.sum(jnp.sin(inner(x, w))))(w)
        )

    w = normal(3, 3, 3, seed=1)
    assert_canonical(check(grad_fn, w))


@jax.custom_vjp
def doubled_gradient(x, w):
    return conv(x, w)


def _forward(x, w):
    return conv(x, w), (x, w)


def _backward(residuals, cotangent):
    x, w = jax.vjp(conv, *residuals)[1](cotangent)
    return 2 * x, 2 * w


doubled_gradient.defvjp(_forward, _backward)


@jax.custom_jvp
def frozen_image(x, w):
    return conv(x, w)


@frozen_image.defjvp
def _frozen_image_jvp(primals, tangents):
    return conv(*primals), conv(primals[0], tangents[1])


@pytest.mark.parametrize("function", [doubled_gradient, frozen_image])
def test_custom_derivatives_are_kept_inside_and_outside(function):
    x, w = normal(2, 6, 3), normal(3, 3, 4, seed=1)

    def loss(w):
        return jnp.sum(jnp.sin(function(jnp.tanh(x * jnp.sum(w)), w)))

    check(lambda w, i: jax.grad(loss)(w), w)
    # The rule must also survive when the returned function itself is differentiated.
    fast = fast_in_loops(lambda w, i: function(x * jnp.sum(w), w))
    expected = jax.grad(lambda w: jnp.sum(function(x * jnp.sum(w), w)))(w)
    assert_same(jax.grad(lambda w: jnp.sum(fast(w, 0)))(w), expected)


def test_differentiable_twice_forward_and_backward():
    grad_fn, params = problem(normal(2, 6, 4), normal(3, 2, 4), feature_group_count=2)

    def norm(grad_fn, params):
        return sum(jnp.sum(g**2) for g in jax.tree.leaves(grad_fn(params, 0)))

    for transform in (jax.grad, jax.jacfwd):
        expected, actual = (
            jax.jit(transform(functools.partial(norm, f)))(params)
            for f in (grad_fn, fast_in_loops(grad_fn))
        )
        assert_same(actual, expected)


@pytest.mark.parametrize("options", [{}, {"feature_group_count": 4}, {"feature_group_count": 2}])
@pytest.mark.parametrize("inside", [False, True])
def test_vmap_over_seeds(options, inside):
    groups = options.get("feature_group_count", 1)
    x, seeds = normal(2, 6, 5, 4), [0, 1, 2]
    kernels = jnp.stack([normal(3, 3, 4 // groups, 4, seed=seed) for seed in seeds])
    grad_fn, _ = problem(x, kernels[0], **options)
    params = {"kernel": kernels, "scale": jnp.stack([1 + normal(6, 5, 4, seed=s) for s in seeds])}

    def train(transform):
        if inside:
            return functools.partial(descend, transform(jax.vmap(grad_fn, (0, None))))
        return jax.vmap(functools.partial(descend, transform(grad_fn)))

    assert_same(jax.jit(train(fast_in_loops))(params), jax.jit(train(lambda f: f))(params))
    assert_canonical(jax.jit(train(fast_in_loops)).lower(params).as_text())


def test_vmap_over_the_batch_that_grad_fn_closes_over():
    kernel, images = normal(3, 3, 4), normal(3, 2, 6, 3)

    def gradients(transform):
        def one(x):
            grad_fn, params = problem(x, kernel)
            return descend(transform(grad_fn), params)

        return jax.jit(jax.vmap(one))(images)

    assert_same(gradients(fast_in_loops), gradients(lambda f: f))


@pytest.mark.parametrize("mapped", ["shard_map", "shard_map_unchecked", "pmap", "vmap"])
def test_collectives_of_the_gradient_function(mapped):
    kernel, images = normal(3, 3, 4), normal(8, 2, 6, 3)

    def one(x, transform):
        grad_fn, params = problem(x[0] if mapped.startswith("shard") else x, kernel)
        if mapped == "shard_map":
            params = jax.tree.map(lambda p: lax.pcast(p, "data", to="varying"), params)

        def reduced(params, i):
            grads = jax.tree.map(lambda g: lax.psum(g, "data"), grad_fn(params, i))
            return jax.tree.map(jnp.add, grads, jax.tree.map(jnp.zeros_like, params))

        return jax.tree.map(lambda p: p[None], descend(transform(reduced), params))

    def run(transform):
        body = functools.partial(one, transform=transform)
        if mapped.startswith("shard"):
            body = jax.shard_map(
                body,
                mesh=jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,)),
                in_specs=PartitionSpec("data"),
                out_specs=PartitionSpec("data"),
                check_vma=mapped == "shard_map",
            )
            return jax.jit(body)(images)
        return (jax.pmap if mapped == "pmap" else jax.vmap)(body, axis_name="data")(images)

    assert_same(run(fast_in_loops), run(lambda f: f))


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharded_arrays_under_jit(axis_type):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,))
    groups = 2 if axis_type == AxisType.Auto else 1  # JAX shards no grouped gradient explicitly
    w, images = normal(4, 4 // groups, 3), normal(8, 4, 6)
    layout = ("NCW", "OIW", "NCW")

    def step(x, w, transform):
        def loss(w):
            return jnp.sum(jnp.sin(conv(x, w, layout=layout, feature_group_count=groups)))

        return descend(transform(lambda w, i: jax.grad(loss)(w)), w)

    with jax.set_mesh(mesh):
        x = jax.device_put(images, PartitionSpec("data"))
        train = jax.jit(functools.partial(step, transform=fast_in_loops))
        actual = train(x, jax.device_put(w, PartitionSpec()))
    assert_same(actual, step(images, w, lambda f: f))


def test_other_higher_order_primitives_run_as_they_are():
    x, w = normal(2, 6, 3), normal(3, 3, 3, seed=1)
    layout = ("NWC", "OIW", "NWC")

    def grad_fn(w, i):
        def solve(matvec, b):
            return b - 0.1 * conv(b, w, layout=layout)

        solution = lax.custom_linear_solve(lambda b: b, x, solve, solve)
        return w * jnp.mean(conv(solution, w, layout=layout))

    forms = convolutions(check(grad_fn, w))
    assert forms == {"[b, 0, f]x[0, i, o]->[b, 0, f]": 1, "[b, 0, f]x[o, i, 0]->[b, 0, f]": 1}


def test_effects_happen_once_and_in_order():
    seen = []
    x, w = normal(2, 6, 3), normal(3, 3, 4, seed=1)
    gradient_of, params = problem(x, w)

    def grad_fn(params, i):
        jax.debug.callback(lambda i: seen.append(("before", int(i))), i, ordered=True)
        grads = gradient_of(params, i)
        jax.debug.callback(lambda i, _: seen.append(("after", int(i))), i, grads, ordered=True)
        return grads

    expected = jax.jit(functools.partial(descend, gradient_of))(params)
    seen.clear()
    assert_same(jax.jit(functools.partial(descend, fast_in_loops(grad_fn)))(params), expected)
    jax.effects_barrier()
    assert seen == [("before", 0), ("after", 0), ("before", 1), ("after", 1)]


def test_mutable_arrays_of_the_gradient_function():
    gradient_of, params = problem(normal(2, 6, 3), normal(3, 3, 4, seed=1))

    @jax.jit
    def count(params):
        calls = jax.new_ref(jnp.int32(0))

        def grad_fn(params, i):
            calls[...] += 1
            return gradient_of(params, i)

        return descend(fast_in_loops(grad_fn), params), calls[...]

    actual, calls = count(params)
    assert calls == 2
    assert_same(actual, jax.jit(functools.partial(descend, gradient_of))(params))


def test_any_pytree_and_a_concrete_step():
    x, w = normal(2, 6, 3), normal(3, 3, 4, seed=1)

    def grad_fn(params, i):
        assert i == 1  # concrete: no tracer
        return {"w": jax.grad(lambda w: jnp.sum(conv(x, w)))(params["w"]), "none": None, "c": ()}

    grads = fast_in_loops(grad_fn)({"w": w, "none": None, "c": ()}, 1)
    assert_same(grads, grad_fn({"w": w}, 1))


def test_disable_jit_shows_concrete_values():
    with jax.disable_jit():
        grad_fn, params = problem(normal(2, 6, 3), normal(3, 3, 4))

        def concrete(params, i):
            assert not isinstance(params["kernel"], jax.core.Tracer)
            return grad_fn(params, i)

        assert_same(fast_in_loops(concrete)(params, 0), grad_fn(params, 0))
