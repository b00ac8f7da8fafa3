"""From a method's name and config to its transformation."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

from experiments.methods.table import METHODS, method
from experiments.training import setup as program

W = jnp.array([1.0, -2.0])


def after(config, steps, total=10):
    """Weights and state after steps of the config's method on a quartic."""
    tx = optax.with_extra_args_support(method(config.method).build(config, total))
    grad_fn = jax.grad(lambda w, i: (w**4).sum() / 4)
    params = W
    state = tx.init(params)
    for _ in range(steps):
        grads = grad_fn(params, 0)
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        params = optax.apply_updates(params, updates)
    return params, state


def test_sgd_is_pytorchs(config):
    config.update(learning_rate=0.1, momentum=0.9, weight_decay=0.01)
    w, velocity = W, 0.0
    for step in range(2):
        velocity = 0.9 * velocity + w**3 + 0.01 * w
        w = w - 0.05 * (1 + jnp.cos(jnp.pi * step / 10)) * velocity
    chex.assert_trees_all_close(after(config, 2)[0], w, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "rho"),
    [
        ("sam", 0.05),
        ("asam", 0.5),
        ("multistep_sam", 0.05),
        ("multistep_asam", 0.5),
        ("lookbehind_sam", 0.05),
        ("lookbehind_asam", 0.5),
    ],
)
def test_rho_defaults_to_the_papers(config, name, rho):
    config.method = name
    default, _ = after(config, 1)
    config.rho = rho
    chex.assert_trees_all_equal(default, after(config, 1)[0])
    config.rho = 2 * rho
    assert (default != after(config, 1)[0]).any()


def test_the_learning_rate_holds_within_a_lookbehind_step(config):
    config.update(method="lookbehind_sam", k=3, alpha=1.0, momentum=0.0, weight_decay=0.0)
    w, state = after(config, 1, total=1)
    # One training step, the last one being cosine's end: lr, and not lr / 2 or 0 in between.
    p, fast = W, W
    for _ in range(3):
        p = p + 0.05 * p**3 / jnp.linalg.norm(p**3)
        fast = fast - config.learning_rate * p**3
    chex.assert_trees_all_close(w, fast, rtol=1e-5)
    assert optax.tree.get(state, "ScaleByScheduleState").count == 3


@pytest.mark.parametrize("name", ["ss_sam", "esam"])
def test_a_methods_draws_are_not_those_of_weights_and_order(config, name):
    config.update(method=name, seed=3)
    states = [after(config, steps)[1] for steps in range(3)]
    first, *_ = own = [key for state in states for key in jax.tree.leaves(state) if is_key(key)]
    assert len(own) == 3
    drawn_from = [*own, *(draw for key in own for draw in jax.random.split(key))]
    of_program = [jax.random.key(3), *program.keys(3)]
    assert not numbers(drawn_from) & numbers(of_program)
    config.seed = 4
    (other,) = filter(is_key, jax.tree.leaves(after(config, 0)[1]))
    assert numbers([first]) != numbers([other])


def is_key(x):
    return jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def numbers(keys):
    return {tuple(jax.random.key_data(key).tolist()) for key in keys}


def test_each_method_says_what_it_costs(config):
    config.k = 4
    costs = {name: m.ascent_gradients(config) for name, m in METHODS.items()}
    assert costs["sgd"] == 0
    assert costs["sam"] == costs["asam"] == costs["lookahead_sam"] == 1
    assert costs["multistep_sam"] == costs["lookbehind_sam"] == costs["lookbehind_asam"] == 4
