"""Which convolutions of a program are rewritten, on which platform, and what stays as it is."""

import functools
import itertools

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from tests.support.convolutions import (
    VARIANTS,
    assert_canonical,
    assert_same,
    batch_groups,
    check,
    conv,
    convolutions,
    descend,
    in_loop,
    lower,
    normal,
    problem,
    slow,
)


@pytest.mark.parametrize("platform", ["cuda", slow("rocm"), "tpu"])
@pytest.mark.parametrize("variant", [slow("2d"), "nchw", slow("grouped"), "batch_grouped"])
def test_accelerators_get_the_convolutions_as_written(platform, variant):
    image, kernel, options = VARIANTS[variant]
    grad_fn, params = problem(normal(*image), normal(*kernel, seed=1), **options)
    as_written, fast = (lower(f, params, platform).as_text() for f in (grad_fn, in_loop(grad_fn)))
    assert convolutions(fast) == convolutions(as_written)
    assert batch_groups(fast) == batch_groups(as_written)
    assert fast.count("stablehlo.transpose") == as_written.count("stablehlo.transpose")


def test_the_platform_is_not_chosen_at_run_time():
    grad_fn, params = problem(normal(2, 6, 5, 3), normal(3, 3, 3, 4))
    assert "conditional" not in lower(in_loop(grad_fn), params).compile().as_text()


def test_a_function_without_convolutions_is_the_same_program():
    def grad_fn(params, i):
        return jax.grad(lambda p: jnp.sum(jnp.tanh(p @ p)))(params)

    params = normal(3, 3)
    jaxpr = jax.make_jaxpr(in_loop(grad_fn))(params, 0)
    assert str(jaxpr.eqns[0].params["jaxpr"]) == str(jax.make_jaxpr(grad_fn)(params, 0))


def test_one_trace_per_call():
    traces = itertools.count()
    grad_fn, params = problem(normal(2, 6, 3), normal(3, 3, 4))

    def counted(params, i):
        next(traces)
        return grad_fn(params, i)

    jax.make_jaxpr(lambda params: in_loop(counted)(params, 0))(params)
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


@pytest.mark.parametrize(
    "call", [call if call in {"jit", "scan", "cond"} else slow(call) for call in CALLS]
)
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
    fast = in_loop(lambda w, i: function(x * jnp.sum(w), w))
    expected = jax.grad(lambda w: jnp.sum(function(x * jnp.sum(w), w)))(w)
    assert_same(jax.grad(lambda w: jnp.sum(fast(w, 0)))(w), expected)


@pytest.mark.slow
def test_differentiable_twice_forward_and_backward():
    grad_fn, params = problem(normal(2, 6, 4), normal(3, 2, 4), feature_group_count=2)

    def norm(grad_fn, params):
        return sum(jnp.sum(g**2) for g in jax.tree.leaves(grad_fn(params, 0)))

    for transform in (jax.grad, jax.jacfwd):
        expected, actual = (
            jax.jit(transform(functools.partial(norm, f)))(params)
            for f in (grad_fn, in_loop(grad_fn))
        )
        assert_same(actual, expected)


@pytest.mark.parametrize("groups", [slow(1), slow(4), 2])
@pytest.mark.parametrize("inside", [False, True])
def test_vmap_over_seeds(groups, inside):
    x, seeds = normal(2, 6, 5, 4), [0, 1, 2]
    kernels = jnp.stack([normal(3, 3, 4 // groups, 4, seed=seed) for seed in seeds])
    grad_fn, _ = problem(x, kernels[0], feature_group_count=groups)
    params = {"kernel": kernels, "scale": jnp.stack([1 + normal(6, 5, 4, seed=s) for s in seeds])}

    def train(transform):
        if inside:
            return functools.partial(descend, transform(jax.vmap(grad_fn, (0, None))))
        return jax.vmap(functools.partial(descend, transform(grad_fn)))

    rewritten = jax.jit(train(in_loop))
    assert_same(rewritten(params), jax.jit(train(lambda f: f))(params))
    assert_canonical(rewritten.lower(params).as_text())


def test_vmap_over_the_batch_that_grad_fn_closes_over():
    kernel, images = normal(3, 3, 4), normal(3, 2, 6, 3)

    def gradients(transform):
        def one(x):
            grad_fn, params = problem(x, kernel)
            return descend(transform(grad_fn), params)

        return jax.jit(jax.vmap(one))(images)

    assert_same(gradients(in_loop), gradients(lambda f: f))


@pytest.mark.parametrize(
    "mapped", ["shard_map", slow("shard_map_unchecked"), slow("pmap"), slow("vmap")]
)
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

    assert_same(run(in_loop), run(lambda f: f))


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
        train = jax.jit(functools.partial(step, transform=in_loop))
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
    assert_same(jax.jit(functools.partial(descend, in_loop(grad_fn)))(params), expected)
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

        return descend(in_loop(grad_fn), params), calls[...]

    actual, calls = count(params)
    assert calls == 2
    assert_same(actual, jax.jit(functools.partial(descend, gradient_of))(params))


def test_any_pytree():
    x, w = normal(2, 6, 3), normal(3, 3, 4, seed=1)

    def grad_fn(params, i):
        return {"w": jax.grad(lambda w: jnp.sum(conv(x, w)))(params["w"]), "none": None, "c": ()}

    grads = in_loop(grad_fn)({"w": w, "none": None, "c": ()}, 1)
    assert_same(grads, grad_fn({"w": w}, 1))


def test_disable_jit_shows_concrete_values():
    with jax.disable_jit():
        grad_fn, params = problem(normal(2, 6, 3), normal(3, 3, 4))

        def concrete(params, i):
            assert not isinstance(params["kernel"], jax.core.Tracer)
            return grad_fn(params, i)

        assert_same(in_loop(concrete)(params, 0), grad_fn(params, 0))
