"""Training comes down to the edge of stability that the formula predicts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

import optax_lookbehind as ol
from optax_lookbehind import sharpness

SIZES, STEPS, EVERY, WARM_UP = (64, 24, 10), 1000, 200, 200


def data():
    digits = load_digits()
    x = jnp.asarray(digits.data[:200] / 16 - 0.3, jnp.float32)
    return x, jax.nn.one_hot(digits.target[:200], 10)


def loss_fn(params, batch):
    x, y = batch
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    return jnp.mean(jnp.sum((hidden @ params["w2"] + params["b2"] - y) ** 2, axis=-1)) / 2


def initial():
    first, second = jax.random.split(jax.random.key(0))
    return {
        "w1": jax.random.normal(first, (64, 24)) / 8,
        "b1": jnp.zeros(24),
        "w2": jax.random.normal(second, (24, 10)) / np.sqrt(24),
        "b2": jnp.zeros(10),
    }


def measure(method, eta):
    """Largest eigenvalue and harmonic mean of |g| over 20 steps, at every 200th step."""
    batch = data()
    warm_up = optax.linear_schedule(0.0, eta, WARM_UP)  # a start far beyond the edge diverges
    tx = optax.chain(method, optax.sgd(warm_up))

    def step(carry, _):
        params, state = carry
        grad_fn = lambda p, i: jax.grad(loss_fn)(p, batch)
        grads = grad_fn(params, 0)
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return (optax.apply_updates(params, updates), state), optax.tree.norm(grads)

    @jax.jit
    def advance(carry):
        before, norms = jax.lax.scan(step, carry, length=EVERY)
        after, _ = step(before, None)
        # Between two weights of the bounce, where the curvature is that of the valley.
        middle = jax.tree.map(lambda a, b: (a + b) / 2, before[0], after[0])
        return before, middle, norms

    params = initial()
    carry, found = (params, tx.init(params)), []
    for _ in range(STEPS // EVERY):
        carry, middle, norms = advance(carry)
        batches = jax.tree.map(lambda a: a[None], batch)
        (top,) = sharpness.hessian_eigenvalues(loss_fn, middle, batches, num_eigenvalues=1)
        found.append((float(top), 1 / np.mean(1 / np.asarray(norms[-20:]))))
    return found


def chained_usam(eta, rho):
    """The law of Lookbehind with USAM's rule holds powers: l alpha sum (1 + rho l)^j, no |g|."""
    curvature = np.linspace(1, 20, 20_000)
    response = curvature * sum((1 + rho * curvature) ** j for j in (1, 2, 3))
    return curvature[np.argmin(np.abs(eta * response - 2))]


CASES = {
    "sgd": (optax.identity(), 0.3, lambda g: sharpness.edge(1, 0, learning_rate=0.3)),
    "usam": (ol.usam(0.2), 0.2, lambda g: sharpness.edge(1, 1, learning_rate=0.2, rho=0.2)),
    "lookbehind with usam's rule": (
        ol.lookbehind(optax.scale(0.1), 3, 1.0),
        0.1,
        lambda g: chained_usam(0.1, 0.1),
    ),
    "sam": (
        ol.sam(0.05),
        0.1,
        lambda g: sharpness.edge(1, 1, learning_rate=0.1, rho=0.05, gradient_norm=g),
    ),
    "lookbehind": (
        ol.lookbehind_sam(3, 0.03, 1.0),
        0.06,
        lambda g: sharpness.edge(3, 6, learning_rate=0.06, rho=0.03, gradient_norm=g),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_largest_eigenvalue_settles_at_the_edge(name, optimized):
    method, eta, predicted = CASES[name]
    measured = measure(optax.with_extra_args_support(method), eta)
    ratios = [top / float(predicted(norm)) for top, norm in measured]
    assert 0.95 < np.median(ratios[-3:]) < 1.10
    # Without the method's response the prediction would be far off.
    if name != "sgd":
        assert measured[-1][0] < 0.7 * 2 / eta
