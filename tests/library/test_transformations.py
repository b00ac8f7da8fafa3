"""Every method composes like any other Optax transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import (
    CHAINED,
    COMPLETE,
    batches,
    is_vector,
    make_step,
    network,
    optimizers,
)

# One of each kind of inner loop, state and policy; the others are made of the same blocks.
REPRESENTATIVES = {
    "sam", "lookbehind_asam", "ae_looksam", "esam", "lookbehind_adam", "friendly_sam",
    "momentum_sam",
}  # fmt: skip
METHODS = [
    name if name in REPRESENTATIVES else pytest.param(name, marks=pytest.mark.slow)
    for name in [*CHAINED, *COMPLETE]
]


@pytest.fixture(params=METHODS)
def tx(request):
    return optimizers()[request.param]


def jitted_step(tx):
    return jax.jit(make_step(tx, network()[1]))


def run(tx, params, data, steps=4, step=None):
    step = step or jitted_step(tx)
    state = tx.init(params)
    losses = []
    for t in range(steps):
        params, state, loss = step(params, state, jax.tree.map(lambda x: x[t % len(x)], data))
        losses.append(loss)
    return params, state, losses


def assert_close(first, second, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), first, second)


def assert_same_types(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert jax.tree.map(jnp.shape, first) == jax.tree.map(jnp.shape, second)
    assert jax.tree.map(lambda x: x.dtype, first) == jax.tree.map(lambda x: x.dtype, second)


def test_loss_decreases(tx):
    _, _, losses = run(tx, network()[0], batches(number=1), steps=20)
    assert losses[-1] < 0.9 * losses[0]


def test_jit_and_eager_agree(tx):
    params, data = network()[0], batches()
    compiled = run(tx, params, data, steps=2)
    eager = run(tx, params, data, steps=2, step=make_step(tx, network()[1]))
    assert_close(compiled[0], eager[0], rtol=1e-4, atol=1e-6)


def test_scan_over_steps_with_donated_buffers_equals_single_steps(tx):
    params, loss_fn = network()
    data = batches()
    expected, expected_state, _ = run(tx, params, data)

    def train(params, state, data):
        step = make_step(tx, loss_fn)
        carry, _ = jax.lax.scan(lambda c, batch: (step(*c, batch)[:2], None), (params, state), data)
        return carry

    train = jax.jit(train, donate_argnums=(0, 1))
    result, state = train(network()[0], tx.init(params), data)
    assert_close(result, expected, rtol=1e-5, atol=1e-6)
    assert_same_types(state, expected_state)


def test_vmap_over_seeds_equals_separate_runs(tx):
    seeds = [network(key)[0] for key in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
    step = jax.jit(jax.vmap(make_step(tx, network()[1]), in_axes=(0, 0, None)))
    state = jax.vmap(tx.init)(stacked)
    data = batches()
    for t in range(4):
        stacked, state, _ = step(stacked, state, jax.tree.map(lambda x: x[t], data))
    step = jitted_step(tx)
    separate = [run(tx, params, data, step=step)[0] for params in seeds]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *separate)
    assert_close(stacked, expected, rtol=1e-4, atol=1e-6)


def test_the_state_keeps_structure_shapes_and_dtypes(tx):
    params = network()[0]
    _, state, _ = run(tx, params, batches(), steps=2)
    assert_same_types(state, jax.tree.map(jnp.asarray, tx.init(params)))


def test_bfloat16_weights_stay_bfloat16(tx):
    params = network(dtype=jnp.bfloat16)[0]
    result, state, _ = run(tx, params, batches(dtype=jnp.bfloat16), steps=2)
    assert_same_types(result, params)
    assert_same_types(state, jax.tree.map(jnp.asarray, tx.init(params)))


@pytest.mark.parametrize("name", METHODS)
def test_a_zero_gradient_changes_nothing_and_makes_no_nan(name):
    # Without weight decay: a decayed weight moves at a zero gradient, as it should.
    tx = optimizers()[name]
    if name == "lookbehind_adam":
        tx = ol.lookbehind_asam(2, 0.5, "adaptive", fast_optimizer=optax.adam(1e-2))
    params = network()[0]
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, state = tx.update(zeros, tx.init(params), params, grad_fn=lambda p, i: zeros)
    assert_close(optax.apply_updates(params, updates), params, rtol=0)
    numbers = [
        x for x in jax.tree.leaves(state) if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    ]
    assert not any(np.isnan(leaf).any() for leaf in numbers)


@pytest.mark.parametrize("where", ["updates", "grad_fn"])
@pytest.mark.parametrize("name", METHODS)
def test_a_nan_gradient_is_not_hidden(name, where):
    if name == "momentum_sam":  # takes no other gradient
        where = "updates"
    tx, params = optimizers()[name], network()[0]
    ones = jax.tree.map(jnp.ones_like, params)
    nans = jax.tree.map(lambda x: x * jnp.nan, ones)
    first, later = (nans, ones) if where == "updates" else (ones, nans)
    if where == "updates":
        # Weights that the NaN perturbation reached must show in what grad_fn returns.
        grad_fn = lambda p, i: jax.tree.map(lambda o: o + 0 * optax.tree.sum(p), later)
    else:
        grad_fn = lambda p, i: later
    updates, _ = tx.update(first, tx.init(params), params, grad_fn=grad_fn)
    assert all(np.isnan(leaf).any() for leaf in jax.tree.leaves(updates))


def test_apply_if_finite_skips_a_nan_step_and_then_continues(tx):
    tx = optax.apply_if_finite(tx, max_consecutive_errors=3)
    params = network()[0]
    x, y = batches(number=1)
    params, state, _ = run(tx, params, (x, y), steps=1)
    step = jax.jit(make_step(tx, network()[1]))
    skipped, state, _ = step(params, state, (x[0] * jnp.nan, y[0]))
    assert_close(skipped, params, rtol=0)
    moved, state, _ = step(skipped, state, (x[0], y[0]))
    assert state.total_notfinite == 1
    assert not np.array_equal(moved["out"]["w"], params["out"]["w"])


def test_multi_steps_over_equal_minibatches_equals_one_step(tx):
    params, data = network()[0], batches(number=1)
    expected, _, _ = run(tx, params, data, steps=1)
    result, state, _ = run(optax.MultiSteps(tx, every_k_schedule=3), params, data, steps=3)
    assert_close(result, expected, rtol=1e-4, atol=1e-6)
    assert state.gradient_step == 1


def test_multi_steps_behind_a_method_average_the_sharpness_aware_gradients():
    # As the guide says: around the method, MultiSteps would see the last minibatch's grad_fn only.
    params, loss_fn = network()
    data = batches(number=3)
    sgd = optax.MultiSteps(optax.sgd(0.1), every_k_schedule=3).gradient_transformation()
    result, _, _ = run(optax.chain(ol.sam(0.05), sgd), params, data, steps=3)
    sam, grads = ol.sam(0.05), []
    for t in range(3):
        batch = jax.tree.map(lambda x: x[t], data)
        grad_fn = lambda p, i: jax.grad(loss_fn)(p, batch)
        g, _ = sam.update(grad_fn(params, 0), sam.init(params), params, grad_fn=grad_fn)
        grads.append(g)
    expected = jax.tree.map(lambda p, *g: p - 0.1 * sum(g) / 3, params, *grads)
    assert_close(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_may_be_constructed_inside_jit(name):
    make = (CHAINED | COMPLETE)[name]
    w = jnp.ones(3)

    @jax.jit
    def step(w):
        tx = make()
        return tx.update(w, tx.init(w), w, grad_fn=lambda p, i: p)[0]

    assert np.isfinite(step(w)).all()


@pytest.mark.parametrize(
    ("factory", "static", "arguments"),
    [
        (ol.sam, (), {"rho": 0.05}),
        (ol.asam, ("mask",), {"rho": 0.5, "eta": 0.01}),
        (ol.multistep_sam, ("k",), {"k": 3, "rho": 0.05, "average": True}),
        (ol.multistep_asam, ("k",), {"k": 2, "rho": 0.5}),
        (ol.lookbehind_sam, ("k",), {"k": 3, "rho": 0.05, "alpha": 0.5}),
        (ol.lookbehind_asam, ("k",), {"k": 2, "rho": 0.5, "alpha": "adaptive"}),
        (ol.ae_sam, (), {"rho": 0.05, "total_steps": 20}),
        (ol.ae_looksam, (), {"rho": 0.05, "alpha": 0.5, "total_steps": 20}),
        (ol.looksam, (), {"rho": 0.05, "alpha": 0.5, "period": 3}),
        (ol.ss_sam, (), {"rho": 0.05, "key": 3}),
        (ol.esam, (), {"rho": 0.05, "beta": 0.5}),
        (ol.ae_lookbehind_sam, ("k",), {"k": 2, "rho": 0.05, "alpha": 0.5, "total_steps": 20}),
        (ol.gsam, (), {"rho": 0.05, "alpha": 0.4}),
        (ol.gnp, (), {"rho": 0.05, "alpha": 0.8}),
        (ol.wsam, (), {"rho": 0.05, "gamma": 0.9}),
        (ol.stable_sam, (), {"rho": 0.05}),
        (ol.saner, (), {"rho": 0.05, "alpha": 0.5}),
        (ol.sam_on, ("mask",), {"rho": 0.05, "mask": is_vector}),
        (ol.usam, (), {"rho": 0.05}),
        (ol.friendly_sam, (), {"rho": 0.05, "sigma": 0.5, "decay": 0.8}),
        (ol.vasso, (), {"rho": 0.05, "theta": 0.4}),
        (ol.late_sam, (), {"rho": 0.05, "total_steps": 4, "fraction": 0.5}),
        (ol.xsam, ("k",), {"rho": 0.05, "alpha": 1.4, "k": 2}),
    ],
)
def test_inject_hyperparams_makes_every_scalar_adjustable(factory, static, arguments):
    params, data = network()[0], batches()
    wrap = lambda tx: optax.chain(tx, optax.sgd(0.1))
    expected, _, _ = run(wrap(factory(**arguments)), params, data)
    injected = optax.inject_hyperparams(factory, static_args=static)(**arguments)
    result, _, _ = run(wrap(injected), params, data)
    assert_close(result, expected, rtol=1e-5, atol=1e-7)
    # Setting rho in the state has the effect of constructing with it.
    state = injected.init(params)
    state.hyperparams["rho"] = jnp.asarray(1.0)
    batch = jax.tree.map(lambda x: x[0], data)
    grad_fn = lambda p, i: jax.grad(network()[1])(p, batch)
    update = jax.jit(lambda s, p: injected.update(grad_fn(p, 0), s, p, grad_fn=grad_fn))
    plain = factory(**arguments | {"rho": 1.0})
    expected, _ = plain.update(grad_fn(params, 0), plain.init(params), params, grad_fn=grad_fn)
    assert_close(update(state, params)[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("factory", "arguments"),
    [
        (ol.momentum_sam, {"optimizer": optax.sgd(0.1, momentum=0.9), "rho": 0.05}),
        (
            ol.wsam_decoupled,
            {"optimizer": optax.adam(1e-2), "learning_rate": 1e-2, "rho": 0.05, "gamma": 0.6},
        ),
    ],
)
def test_inject_hyperparams_makes_the_scalars_of_complete_methods_adjustable(factory, arguments):
    params, data = network()[0], batches()
    expected, _, _ = run(factory(**arguments), params, data)
    result, state, _ = run(optax.inject_hyperparams(factory)(**arguments), params, data)
    assert_close(result, expected, rtol=1e-5, atol=1e-7)
    assert arguments.keys() - {"optimizer"} <= state.hyperparams.keys()


def test_inject_hyperparams_takes_schedules():
    factory = optax.inject_hyperparams(ol.lookbehind_sam, static_args=("k",))
    alpha = optax.linear_schedule(1.0, 0.5, 2)
    tx = optax.chain(factory(k=2, rho=0.05, alpha=alpha), optax.sgd(0.1))
    _, state, _ = run(tx, network()[0], batches(), steps=2)
    np.testing.assert_allclose(state[0].inner_state.alpha, 0.75)
