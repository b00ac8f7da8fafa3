"""``check_grad_fn`` with ``tx``: optimizers in wrong places, perturbations that round away."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optax_lookbehind as ol
from tests.support.methods import each
from tests.support.problems import batches, network

SGD = optax.sgd(0.1)
HOLDS_ITS_OPTIMIZER = ol.lookbehind_sam(2, 0.05, 0.5, fast_optimizer=SGD)
MULTI_STEPS = optax.MultiSteps(optax.chain(ol.sam(0.05), SGD), 4)


@pytest.fixture
def setup():
    params, loss_fn = network()
    batch = jax.tree.map(lambda x: x[0], batches())
    grad_fn = lambda p, i: jax.grad(loss_fn)(p, batch)
    return grad_fn, params, grad_fn(params, 0)


@each()
def test_every_method_in_its_place_has_no_problems(method, setup):
    assert ol.check_grad_fn(*setup, tx=method.optimizer()) == []


@pytest.mark.parametrize(
    "tx",
    [
        SGD,
        optax.chain(optax.clip_by_global_norm(1.0), ol.sam(0.05), optax.adamw(1e-3)),
        optax.chain(ol.sam(0.05), optax.sgd(optax.linear_schedule(0.0, 0.1, 10))),
        optax.chain(ol.sam(0.05), optax.MultiSteps(SGD, 4).gradient_transformation()),
        optax.apply_if_finite(optax.chain(ol.sam(0.05), SGD), 3),
    ],
)
def test_what_belongs_around_a_method_has_no_problems(tx, setup):
    assert ol.check_grad_fn(*setup, tx=tx) == []


@pytest.mark.parametrize(
    ("tx", "shown"),
    [
        (ol.sam(0.05), "no optimizer behind it"),
        (optax.inject_hyperparams(ol.sam)(rho=0.05), "no optimizer behind it"),
        (ol.lookbehind_sam(3, 0.05, "adaptive"), "no optimizer behind it"),
        (optax.chain(SGD, ol.sam(0.05)), "in front of the method"),
        (optax.chain(optax.adam(1e-3), ol.asam(0.5), SGD), "in front of the method"),
        (optax.chain(HOLDS_ITS_OPTIMIZER, SGD), "turns its sign once more"),
        (MULTI_STEPS, "last microbatch"),
        (MULTI_STEPS.gradient_transformation(), "last microbatch"),
    ],
)
def test_an_optimizer_in_the_wrong_place_is_named(tx, shown, setup):
    (problem,) = ol.check_grad_fn(*setup, tx=tx)
    assert shown in problem


def test_lookahead_weights_are_those_of_the_training_step(setup):
    grad_fn, params, grads = setup
    params = optax.LookaheadParams(fast=params, slow=params)
    tx = optax.chain(ol.sam(0.05), optax.lookahead(SGD, 5, 0.5))
    assert ol.check_grad_fn(grad_fn, params, grads, tx=tx) == []


@pytest.mark.parametrize("tx", [None, optax.chain(ol.sam(0.05), SGD)])
def test_a_perturbation_that_rounds_away_in_bfloat16_weights_is_named(tx):
    # Each of 200,000 equal weights is to move by about 1e-4; next to 1 bfloat16 has 0.992.
    target = jnp.linspace(-3, 5, 200_000)
    loss_fn = lambda w: jnp.mean((w.astype(jnp.float32) - target) ** 2)
    grad_fn = lambda w, i: jax.grad(loss_fn)(w)
    w = jnp.ones(200_000, jnp.bfloat16)
    (problem,) = ol.check_grad_fn(grad_fn, w, grad_fn(w, 0), tx=tx)
    assert "bfloat16" in problem
    assert "rounds away" in problem
    w = jnp.ones(200_000)
    assert ol.check_grad_fn(grad_fn, w, grad_fn(w, 0), tx=tx) == []


def test_a_radius_of_zero_is_refused_with_the_baseline_to_write(setup):
    with pytest.raises(ValueError, match=r"rho must be .* got 0\..*with_extra_args_support"):
        ol.sam(0)
    grad_fn, params, grads = setup
    baseline = optax.with_extra_args_support(SGD)
    updates, _ = baseline.update(grads, baseline.init(params), params, grad_fn=grad_fn)
    plain, _ = SGD.update(grads, SGD.init(params), params)
    assert optax.tree.norm(optax.tree.sub(updates, plain)) == 0


CURVATURE = 3.0


def quadratic(w):
    loss_fn = lambda p: CURVATURE / 2 * jnp.sum(p["w"] ** 2)
    params = {"w": jnp.array([w])}
    _, grads, grad_fn = ol.value_and_grad(loss_fn)(params)
    return grad_fn, params, grads


@pytest.mark.parametrize("distance", [1.9, 2.1])
def test_a_rise_of_more_than_twice_the_first_order_model_is_named(distance):
    # L(w + rho) - L(w) = rho g (1 + rho / (2 w)).
    w = 0.1
    tx = optax.chain(ol.sam(distance * w), optax.sgd(1e-3))
    problems = ol.check_grad_fn(*quadratic(w), tx=tx)
    assert [f"distance {distance * w:.2g}" in each for each in problems] == [True] * (distance > 2)


def test_a_rise_of_less_than_half_the_first_order_model_is_named():
    params = {"w": jnp.array([1.0])}
    _, grads, grad_fn = ol.value_and_grad(lambda p: jnp.tanh(p["w"][0]))(params)
    tx = optax.chain(ol.sam(3.0), optax.sgd(1e-3))
    (problem,) = ol.check_grad_fn(grad_fn, params, grads, tx=tx)
    assert "first-order" in problem


def test_without_the_loss_its_rise_is_not_checked():
    grad_fn, params, grads = quadratic(0.1)
    tx = optax.chain(ol.sam(1.0), optax.sgd(1e-3))
    assert ol.check_grad_fn(lambda p, i: grad_fn(p, i).grads, params, grads, tx=tx) == []


@pytest.mark.parametrize(
    ("method", "c"),
    [
        (ol.sam(0.01), 1.0),
        (ol.multistep_sam(3, 0.01), 1.0),
        (ol.lookbehind_sam(2, 0.01, 0.75), 1.5),
    ],
)
@pytest.mark.parametrize("times", [3.9, 4.1])
def test_a_step_far_beyond_the_minimum_is_named(method, c, times):
    # eta c l = times.
    tx = optax.chain(method, optax.sgd(times / (c * CURVATURE)))
    problems = ol.check_grad_fn(*quadratic(1.0), tx=tx)
    assert [f"goes {times:.2g} times" in each for each in problems] == [True] * (times > 4)
