"""Every method composes with JAX's transformations and with Optax's wrappers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.methods import METHODS, each, takes_gradients
from tests.support.problems import (
    batches,
    classification_loss,
    make_step,
    network,
    quadratic,
)

every_method = each(slow=True)


def run(tx, params, data, steps=4, step=None):
    step = step or jax.jit(make_step(tx, classification_loss))
    state = tx.init(params)
    losses = []
    for t in range(steps):
        params, state, loss = step(params, state, jax.tree.map(lambda x, t=t: x[t % len(x)], data))
        losses.append(loss)
    return params, state, losses


def assert_close(first, second, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), first, second)


@every_method
def test_loss_decreases(method):
    _, _, losses = run(method.optimizer(), network()[0], batches(number=1), steps=20)
    assert losses[-1] < 0.9 * losses[0]


@each()
def test_jit_and_eager_agree(method, float64):
    tx, params, data = method.optimizer(), network(dtype=jnp.float64)[0], batches(dtype=jnp.float64)
    compiled = run(tx, params, data, steps=2)
    eager = run(tx, params, data, steps=2, step=make_step(tx, classification_loss))
    assert_close(compiled, eager, rtol=1e-9, atol=1e-12)


@every_method
def test_scan_over_steps_with_donated_buffers_equals_single_steps(method):
    tx, data = method.optimizer(), batches()
    expected, expected_state, _ = run(tx, network()[0], data)

    def train(params, state, data):
        step = make_step(tx, classification_loss)
        carry, _ = jax.lax.scan(lambda c, batch: (step(*c, batch)[:2], None), (params, state), data)
        return carry

    params = network()[0]
    result = jax.jit(train, donate_argnums=(0, 1))(params, tx.init(params), data)
    assert_close(result, (expected, expected_state), rtol=1e-4, atol=1e-6)


@every_method
def test_vmap_over_seeds_equals_separate_runs(method):
    tx, data = method.optimizer(), batches()
    seeds = [network(key)[0] for key in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
    step = jax.jit(jax.vmap(make_step(tx, classification_loss), in_axes=(0, 0, None)))
    state = jax.vmap(tx.init)(stacked)
    for t in range(4):
        stacked, state, _ = step(stacked, state, jax.tree.map(lambda x, t=t: x[t], data))
    alone = jax.jit(make_step(tx, classification_loss))
    separate = [run(tx, params, data, step=alone)[0] for params in seeds]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *separate)
    assert_close(stacked, expected, rtol=1e-4, atol=1e-6)


SWEPT = [
    pytest.param(method, name, id=f"{title}, {name}")
    for title, method in METHODS.items()
    for name in ("rho", "alpha")
    if isinstance(method.arguments.get(name), float)
]


@pytest.mark.parametrize(("method", "name"), SWEPT)
def test_vmap_over_a_traced_argument_equals_separate_methods(method, name, float64):
    matrix, w = map(jnp.asarray, quadratic())
    values = jnp.array([0.1, 0.4, 0.8])

    def steps(value):
        tx, params = method.make(**{name: value}), w
        state = tx.init(w)
        for _ in range(4):
            grad_fn = lambda p, i: matrix @ p
            updates, state = tx.update(matrix @ params, state, params, grad_fn=grad_fn)
            params = params - 0.1 * updates
        return params

    results = jax.jit(jax.vmap(steps))(values)
    for value, result in zip(values, results, strict=True):
        np.testing.assert_allclose(result, steps(float(value)), rtol=1e-9)
    assert np.ptp(results, axis=0).max() > 0 or method.alias == "saner"  # nothing shrinks here


@pytest.mark.parametrize("zero", [False, True], ids=["somewhere", "at a zero gradient"])
@each(takes_gradients)
def test_derivatives_through_a_step_are_finite_and_right(method, zero, float64):
    matrix, w = map(jnp.asarray, quadratic())
    tx = method.make()
    centre = w if zero else jnp.zeros_like(w)  # of the quadratic: its gradient is zero there
    always = {"apply": True} if method.has_policy else {}

    def loss_after_a_step(w):
        grad_fn = lambda p, i: matrix @ (p - centre)
        updates, state = tx.update(grad_fn(w, 0), tx.init(w), w, grad_fn=grad_fn, **always)
        moved = w - 0.1 * (updates if not method.complete else -10 * updates)
        return jnp.sum(jnp.sin(moved)) + 0 * optax.tree.get(state, "perturbed_losses").sum()

    result = jax.jit(jax.grad(loss_after_a_step))(w)
    assert np.isfinite(result).all()
    if zero or "mask" in method.arguments:
        return  # the direction of a zero gradient has no derivative
    difference = np.zeros_like(w)
    for j, h in enumerate(1e-6 * np.eye(len(w))):
        difference[j] = (loss_after_a_step(w + h) - loss_after_a_step(w - h)) / 2e-6
    np.testing.assert_allclose(result, difference, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", [METHODS["ae_sam"], METHODS["lookbehind_sam_adaptive"]])
def test_derivatives_through_several_steps_and_a_policy_are_finite(method, float64):
    matrix, w = map(jnp.asarray, quadratic())
    tx = method.optimizer(optax.sgd(0.05, momentum=0.9))

    def loss_after_training(start):
        def step(carry, _):
            w, state = carry
            updates, state = tx.update(matrix @ w, state, w, grad_fn=lambda p, i: matrix @ p)
            return (w + updates, state), None

        (end, _), _ = jax.lax.scan(step, (start, tx.init(start)), None, length=5)
        return end @ matrix @ end

    for start in (w, jnp.zeros_like(w)):
        assert np.isfinite(jax.grad(loss_after_training)(start)).all()


@every_method
def test_apply_if_finite_skips_a_nan_step_and_then_continues(method):
    tx = optax.apply_if_finite(method.optimizer(), max_consecutive_errors=3)
    x, y = batches(number=1)
    params, state, _ = run(tx, network()[0], (x, y), steps=1)
    step = jax.jit(make_step(tx, classification_loss))
    skipped, state, _ = step(params, state, (x[0] * jnp.nan, y[0]))
    assert_close(skipped, params, rtol=0)
    moved, state, _ = step(skipped, state, (x[0], y[0]))
    assert state.total_notfinite == 1
    assert not np.array_equal(moved["out"]["w"], params["out"]["w"])


@every_method
def test_multi_steps_over_equal_minibatches_equals_one_step(method):
    tx, params, data = method.optimizer(), network()[0], batches(number=1)
    expected, _, _ = run(tx, params, data, steps=1)
    result, state, _ = run(optax.MultiSteps(tx, every_k_schedule=3), params, data, steps=3)
    assert_close(result, expected, rtol=1e-4, atol=1e-6)
    assert state.gradient_step == 1


def test_multi_steps_behind_a_method_average_the_sharpness_aware_gradients():
    # As the guide says: around the method, MultiSteps would see the last minibatch's grad_fn only.
    params, data = network()[0], batches(number=3)
    sgd = optax.MultiSteps(optax.sgd(0.1), every_k_schedule=3).gradient_transformation()
    result, _, _ = run(optax.chain(ol.sam(0.05), sgd), params, data, steps=3)
    sam, grads = ol.sam(0.05), []
    for t in range(3):
        batch = jax.tree.map(lambda x, t=t: x[t], data)
        _, g, grad_fn = ol.value_and_grad(classification_loss)(params, batch)
        grads.append(sam.update(g, sam.init(params), params, grad_fn=grad_fn)[0])
    expected = jax.tree.map(lambda p, *g: p - 0.1 * sum(g) / 3, params, *grads)
    assert_close(result, expected, rtol=1e-5, atol=1e-6)


@each()
def test_a_method_may_be_constructed_inside_jit(method):
    @jax.jit
    def step(w):
        tx = method.make()
        return tx.update(w, tx.init(w), w, grad_fn=lambda p, i: p)[0]

    assert np.isfinite(step(jnp.ones(3))).all()


def test_inject_hyperparams_takes_schedules():
    factory = optax.inject_hyperparams(ol.lookbehind_sam, static_args=("k",))
    alpha = optax.linear_schedule(1.0, 0.5, 2)
    tx = optax.chain(factory(k=2, rho=0.05, alpha=alpha), optax.sgd(0.1))
    _, state, _ = run(tx, network()[0], batches(), steps=2)
    np.testing.assert_allclose(state[0].inner_state.alpha, 0.75)


@pytest.mark.parametrize("name", ["ae_looksam", "lookbehind_sam_adaptive"])
def test_lookahead_params_pass_through(name, float64):
    matrix, w = map(jnp.asarray, quadratic())
    tx = METHODS[name].optimizer(optax.lookahead(optax.sgd(0.1), 2, 0.5))
    params = optax.LookaheadParams.init_synced(w)
    state = tx.init(params)
    for _ in range(4):
        grad_fn = lambda p, i: matrix @ p
        updates, state = tx.update(grad_fn(params.fast, 0), state, params, grad_fn=grad_fn)
        params = optax.apply_updates(params, updates)
    assert jnp.linalg.norm(params.slow) < jnp.linalg.norm(w)


@pytest.mark.parametrize("name", ["lookbehind_switch", "ae_looksam"])
def test_outside_jit_nothing_compiles_twice(name, compilations):
    params, grad = network()[0], jax.jit(jax.grad(classification_loss))
    tx = METHODS[name].optimizer()
    state, labels = tx.init(params), batches()[1][0]
    for step, x in enumerate(np.random.default_rng(0).normal(size=(3, 16, 4))):
        batch = jnp.asarray(x, jnp.float32), labels
        with compilations() as count:
            grad_fn = lambda params, i, batch=batch: grad(params, batch)  # new in each step
            updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
            params = optax.apply_updates(params, updates)
        assert step == 0 or count[0] == 0


def test_a_gradient_function_that_reads_changed_data_sees_the_change(float64):
    params = network(dtype=jnp.float64)[0]
    batch = jax.tree.map(lambda x: x[0], batches(dtype=jnp.float64))
    tx, results, scale = ol.sam(0.05), [], [0.0]
    gradient = jax.grad(classification_loss)
    grad_fn = lambda params, i: optax.tree.scale(scale[0], gradient(params, batch))
    for scale[0] in (1.0, 2.0):
        results.append(tx.update(grad_fn(params, 0), tx.init(params), params, grad_fn=grad_fn)[0])
    assert_close(optax.tree.scale(2.0, results[0]), results[1], rtol=1e-12)
