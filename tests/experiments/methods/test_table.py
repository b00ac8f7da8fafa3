"""From a method's name and config to its transformation."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from experiments.methods.optimizers import read_optimizer
from experiments.methods.table import METHODS, method
from experiments.training.setup import seed_keys

W = jnp.array([1.0, -2.0])


def after(config, steps, total=10):
    """Weights and state after steps of the config's method on a quartic."""
    tx = optax.with_extra_args_support(
        method(config.method).build(read_optimizer(config), total, seed=config.seed)
    )
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
    def weights(text):
        config.method = text
        return after(config, 1)[0]

    chex.assert_trees_all_equal(weights(name), weights(f"{name}:rho={rho}"))
    assert (weights(name) != weights(f"{name}:rho={2 * rho}")).any()


def test_the_learning_rate_holds_within_a_lookbehind_step(config):
    config.update(method="lookbehind_sam:k=3,alpha=1", momentum=0.0, weight_decay=0.0)
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
    first, *_ = own = [key for state in states for key in keys_in(state)]
    assert len(own) == 3
    drawn_from = [*own, *(draw for key in own for draw in jax.random.split(key))]
    of_program = [jax.random.key(3), *seed_keys(3)]
    assert not numbers(drawn_from) & numbers(of_program)
    config.seed = 4
    (other,) = keys_in(after(config, 0)[1])
    assert numbers([first]) != numbers([other])


def keys_in(state):
    data = [x for x in jax.tree.leaves(state) if x.dtype == jnp.uint32]
    return [*map(jax.random.wrap_key_data, data)]


def numbers(keys):
    return {tuple(jax.random.key_data(key).tolist()) for key in keys}


@pytest.mark.parametrize(
    ("text", "gradients", "minibatches", "calls"),
    [
        ("none", 0, 1, 1),
        ("lookahead:k=4", 0, 1, 1),
        ("lookahead_sam:k=4", 1, 1, 1),
        ("multistep_asam:k=4,average=true", 4, 1, 1),
        ("ae_lookbehind_sam:k=4", 4, 1, 1),
        ("lookbehind_sam:k=4", 4, 1, 4),
        ("lookbehind_asam:k=4,fast_optimizer=false", 4, 1, 1),
        ("lookbehind_sam:k=4,switch_minibatch=true", 7, 4, 4),
    ],
)
def test_costs_follow_from_the_arguments(text, gradients, minibatches, calls):
    chosen = method(text)
    costs = (chosen.extra_gradients, chosen.minibatches, chosen.optimizer_calls)
    assert costs == (gradients, minibatches, calls)


def test_every_alias_of_the_library_has_a_row():
    aliases = {
        name
        for name, function in vars(ol).items()
        if inspect.isfunction(function)
        and "rho" in inspect.signature(function).parameters
        and not name.endswith("_perturbation")
    }
    assert len(aliases) >= 12
    assert aliases <= METHODS.keys()


@pytest.mark.parametrize(
    ("text", "applied", "gradients"),
    [
        ("none", None, 1),
        ("sam", None, 2),
        ("momentum_sam", None, 1),
        ("multistep_sam:k=4", None, 5),
        ("lookbehind_sam:k=4,switch_minibatch=true", None, 8),
        ("looksam:period=4", None, 1.25),
        ("ss_sam:probability=0.3", None, 1.3),
        ("late_sam:fraction=0.3", None, 1.3),
        ("le_sam:budget=0.2", None, 2),
        ("xsam:k=3", None, 4),
        ("ae_sam:lambda_1=0,lambda_2=0", None, 1.5),
        ("ae_lookbehind_sam:k=4,lambda_1=0,lambda_2=0", None, 3),
        ("ae_lookbehind_sam:k=4", 0.25, 2),
        ("none", 1.0, 1),
    ],
)
def test_gradients_per_step_follow_from_the_sharpness_aware_fraction(text, applied, gradients):
    assert method(text).gradients_per_step(applied) == pytest.approx(gradients)


def test_the_adaptive_policy_is_expected_to_apply_sam_where_a_normal_variable_is_large():
    rng = np.random.default_rng(0)
    thresholds = np.linspace(2, 0, 1000)  # lambda_2 to lambda_1 over the steps
    share = (rng.normal(size=(1000, 1000)) >= thresholds).mean()
    assert method("ae_looksam").sharp_fraction == pytest.approx(share, abs=5e-3)


@pytest.mark.parametrize("name", ["multistep_sam", "multistep_asam"])
def test_average_emits_the_mean_gradient(config, name):
    config.update(momentum=0.0, weight_decay=0.0)
    updates = {}
    for average in ("false", "true"):
        config.method = f"{name}:k=3,average={average}"
        updates[average] = after(config, 1)[0] - W
    assert (abs(updates["true"]) < abs(updates["false"])).all()  # on a quartic gradients grow


@pytest.mark.parametrize("inner", ["", "_sam", "_asam"])
def test_lookahead_interpolates_every_k_steps(config, inner):
    config.update(momentum=0.0, weight_decay=0.0)
    fast, slow = W, W
    gradient = lambda w: w**3
    ascent = {
        "": jnp.zeros_like,
        "_sam": lambda w: 0.05 * gradient(w) / jnp.linalg.norm(gradient(w)),
        "_asam": lambda w: (
            0.5
            * (abs(w) + 0.01) ** 2
            * gradient(w)
            / jnp.linalg.norm((abs(w) + 0.01) * gradient(w))
        ),
    }[inner]
    for step in range(4):
        rate = config.learning_rate / 2 * (1 + np.cos(np.pi * step / 10))
        fast = fast - rate * gradient(fast + ascent(fast))
        if step % 2 == 1:
            fast = slow = slow + 0.5 * (fast - slow)

    chosen = method(f"lookahead{inner}:k=2,alpha=0.5")
    tx = optax.with_extra_args_support(chosen.build(read_optimizer(config), 10))
    params = chosen.row.wrap_params(W)
    state = tx.init(params)
    grad_fn = jax.grad(lambda w, i: (w**4).sum() / 4)
    for _ in range(4):
        grads = grad_fn(params.fast, 0)
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        params = optax.apply_updates(params, updates)
    chex.assert_trees_all_close(params.slow, slow, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "title", "label"),
    [
        ("sgd", "SGD", "SGD"),
        ("lookahead", "Lookahead-SGD", "Lookahead-SGD"),
        ("lookbehind_sam:k=5", "Lookbehind-SAM", "Lookbehind-SAM (k=5)"),
        ("multistep_sam:average=true,k=2", "Multistep-SAM", "Multistep-SAM (average=true)"),
    ],
)
def test_titles_are_the_papers(text, title, label):
    chosen = method(text)
    assert (chosen.title("sgd"), chosen.label("sgd")) == (title, label)
    assert method("none").title("adamw") == "AdamW"


@pytest.mark.parametrize("name", ["lookbehind_sam", "multistep_asam"])
def test_rho_over_k_divides_rho(config, name):
    def weights(arguments):
        config.method = f"{name}:k=4,{arguments}"
        return after(config, 1)[0]

    divided = weights("rho=0.2,rho_over_k=true")
    np.testing.assert_array_equal(divided, weights("rho=0.05"))
