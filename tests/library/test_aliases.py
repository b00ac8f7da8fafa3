"""Every alias: a row in the registry, its limits, its cost, its way to the user's function."""

import inspect
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.methods import LIMITS, METHODS, SGD, each, takes_gradients
from tests.support.problems import batches, classification_loss, make_step, network, quadratic


def train(tx, steps=4, dtype=jnp.float32):
    """Weights and state after a few steps of the small network."""
    params, data = network(dtype=dtype)[0], batches(dtype=dtype)
    step, state = jax.jit(make_step(tx, classification_loss)), tx.init(params)
    for t in range(steps):
        params, state, _ = step(params, state, jax.tree.map(lambda x, t=t: x[t % len(x)], data))
    return params, state


def assert_close(first, second, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), first, second)


def test_every_alias_has_a_row():
    aliases = {
        name
        for name, function in vars(ol).items()
        if inspect.isfunction(function)
        and inspect.signature(function).return_annotation is optax.GradientTransformationExtraArgs
    }
    assert aliases - {"multistep", "lookbehind"} == {m.alias for m in METHODS.values()} - {
        "multistep"
    }


def limit_id(value):
    if isinstance(value, dict):
        return ",".join(f"{name}={x}" for name, x in value.items() if not callable(x))
    return "" if callable(value) or value is None else value


@pytest.mark.parametrize(("name", "arguments", "other"), LIMITS, ids=limit_id)
def test_in_the_limit_it_is_another_method(name, arguments, other, float64):
    result, _ = train(METHODS[name].optimizer(SGD, **arguments), dtype=jnp.float64)
    expected = SGD if other is None else optax.chain(other(), SGD)
    expected, _ = train(optax.with_extra_args_support(expected), dtype=jnp.float64)
    assert_close(result, expected, rtol=0, atol=1e-13)


def test_wsam_decoupled_around_plain_sgd_is_wsam(float64):
    sgd = optax.sgd(0.1)
    result, _ = train(ol.wsam_decoupled(sgd, 0.1, 0.3, gamma=0.6), dtype=jnp.float64)
    expected, _ = train(optax.chain(ol.wsam(0.3, gamma=0.6), sgd), dtype=jnp.float64)
    assert_close(result, expected, rtol=0, atol=1e-13)


def count_gradients(tx, steps):
    """Gradients that jitted training steps evaluate, counted at run time, and the last state."""
    matrix, w = map(jnp.asarray, quadratic())
    calls = []

    def grad_fn(params, i):
        del i
        jax.debug.callback(lambda: calls.append(1))
        return matrix @ params

    step = jax.jit(lambda w, state: tx.update(grad_fn(w, 0), state, w, grad_fn=grad_fn))
    state = tx.init(w)
    for size in [1.0, 4.0, 0.5, 8.0, 0.1, 2.0][:steps]:  # gradients that a policy tells apart
        _, state = step(size * w, state)
    jax.block_until_ready(state)
    jax.effects_barrier()
    return len(calls), state


@each()
def test_the_cost_of_a_step_in_gradients(method):
    steps = 6
    count, state = count_gradients(method.make(), steps)
    applied = optax.tree.get(state, "applied", default=steps)
    assert applied > 0
    assert method.has_policy == (applied < steps)
    sharp, plain = method.gradients
    assert count == applied * sharp + (steps - applied) * plain


@pytest.mark.parametrize("k", [1, 2, 5, 12])
@each(lambda method: "k" in method.arguments)
def test_k_ascent_steps_cost_k_plus_one_gradients(method, k):
    if method.has_policy:
        return
    expected = 2 * k if method.arguments.get("switch_minibatch") else k + 1
    assert count_gradients(method.make(k=k), steps=1)[0] == expected


@pytest.mark.parametrize("eager", [False, True], ids=["jit", "eager"])
@each(takes_gradients)
def test_few_frames_lie_between_update_and_the_gradient_function(method, eager):
    stacks, w = [], jnp.ones(3)
    tx = method.make()

    def grad_fn(params, i):
        stacks.append([frame.filename for frame in traceback.extract_stack()])
        return params

    sharp = {"apply": True} if method.has_policy and eager else {}

    def update(w):
        return tx.update(w, tx.init(w), w, grad_fn=grad_fn, **sharp)

    update(w) if eager else jax.jit(update)(w)
    frames = max(sum("/optax_lookbehind/" in file for file in stack) for stack in stacks)
    assert stacks
    assert frames <= (6 if method.arguments.get("switch_minibatch") else 5) - eager


@each()
def test_inject_hyperparams_makes_every_scalar_adjustable(method):
    static = {"k", "mask"} & inspect.signature(method.factory).parameters.keys()
    injected = optax.inject_hyperparams(method.factory, static_args=static)(**method.arguments)
    wrap = lambda tx: tx if method.complete else optax.chain(tx, optax.sgd(0.1))
    result, _ = train(wrap(injected))
    assert_close(result, train(method.optimizer())[0], rtol=1e-5, atol=1e-7)
    # Setting the radius in the state has the effect of constructing with it.
    params = network()[0]
    batch = jax.tree.map(lambda x: x[0], batches())
    _, grads, grad_fn = ol.value_and_grad(classification_loss)(params, batch)
    state = injected.init(params)
    numbers = {n for n, v in method.arguments.items() if type(v) in (int, float) and n != "k"}
    assert numbers <= state.hyperparams.keys()
    (name, *_) = [*numbers & {"rho", "budget"}, None]
    if name is None:
        return
    state.hyperparams[name], plain = jnp.asarray(1.0), method.make(**{name: 1.0})
    update = jax.jit(lambda tx_state: injected.update(grads, tx_state, params, grad_fn=grad_fn)[0])
    expected, _ = plain.update(grads, plain.init(params), params, grad_fn=grad_fn)
    assert_close(update(state), expected, rtol=1e-4, atol=1e-6)
