"""GSAM, WSAM, Friendly SAM, Momentum-SAM and others: limits, zero gradients, averages, masks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.variants import (
    LEARNING_RATE,
    flatten,
    is_norm,
    loss_fn,
    make_step,
    minibatches,
    sgd,
    start,
    train,
)

RHO = 0.3
exact = pytest.mark.usefixtures("float64")


def chained(method):
    return optax.chain(method, sgd())


def plain_sgd():
    return optax.with_extra_args_support(sgd())


def sam():
    return chained(ol.sam(RHO))


@exact
@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (lambda: chained(ol.gsam(RHO, alpha=0.0)), sam),
        (lambda: chained(ol.gnp(RHO, alpha=0.0)), plain_sgd),
        (lambda: chained(ol.gnp(RHO, alpha=1.0)), sam),
        (lambda: chained(ol.wsam(RHO, gamma=0.0)), plain_sgd),
        (lambda: chained(ol.wsam(RHO, gamma=0.5)), sam),
        (lambda: chained(ol.saner(RHO, alpha=0.0)), sam),
        (lambda: chained(ol.friendly_sam(RHO, sigma=0.0)), sam),
        (lambda: chained(ol.vasso(RHO, theta=1.0)), sam),
        (lambda: chained(ol.sam_on(RHO, True)), sam),
        (lambda: ol.wsam_decoupled(sgd(), LEARNING_RATE, RHO, gamma=0.0), plain_sgd),
        (
            lambda: ol.wsam_decoupled(optax.sgd(LEARNING_RATE), LEARNING_RATE, RHO, gamma=0.6),
            lambda: optax.chain(ol.wsam(RHO, gamma=0.6), optax.sgd(LEARNING_RATE)),
        ),
        (lambda: ol.momentum_sam(sgd(), lambda t: 0.0), plain_sgd),
    ],
    ids=[
        "gsam without alpha is sam",
        "gnp with alpha 0 is sgd",
        "gnp with alpha 1 is sam",
        "wsam with gamma 0 is sgd",
        "wsam with gamma 0.5 is sam",
        "saner without alpha is sam",
        "friendly sam without sigma is sam",
        "vasso with theta 1 is sam",
        "sam-on with everything in the mask is sam",
        "wsam decoupled with gamma 0 is its optimizer",
        "wsam decoupled around plain sgd is wsam",
        "momentum-sam without rho is its optimizer",
    ],
)
def test_limits_are_sam_or_the_optimizer(limit, expected):
    np.testing.assert_allclose(train(limit())[0], train(expected())[0], rtol=0, atol=1e-14)


def emitted(method, plain, perturbed):
    """The gradient that a method emits, for given plain and perturbed gradients."""
    w = jnp.zeros(2)
    updates, _ = method.update(plain, method.init(w), w, grad_fn=lambda p, i: perturbed)
    return np.asarray(updates)


SIGNED = {
    "gsam": lambda: ol.gsam(RHO),
    "gnp": lambda: ol.gnp(RHO),
    "wsam": lambda: ol.wsam(RHO),
    "stable_sam": lambda: ol.stable_sam(RHO),
    "saner": lambda: ol.saner(RHO),
    "friendly_sam": lambda: ol.friendly_sam(RHO),
    "vasso": lambda: ol.vasso(RHO),
    "usam": lambda: ol.usam(RHO),
    "wsam_decoupled": lambda: optax.chain(
        ol.wsam_decoupled(optax.sgd(1.0), 1.0, RHO), optax.scale(-1)
    ),
}


@pytest.mark.parametrize("name", SIGNED)
def test_a_zero_perturbed_gradient_makes_no_ascent_on_the_loss(name):
    g = jnp.array([3.0, -4.0])
    result = emitted(SIGNED[name](), g, jnp.zeros(2))
    assert np.isfinite(result).all()
    assert result @ g >= 0


@pytest.mark.parametrize("name", SIGNED)
def test_a_zero_plain_gradient_leaves_the_perturbed_one(name):
    g_s = jnp.array([1.0, -2.0])
    result = emitted(SIGNED[name](), jnp.zeros(2), g_s)
    assert np.isfinite(result).all()
    assert result @ g_s >= 0


def test_gsam_subtracts_the_part_of_the_plain_gradient_orthogonal_to_the_perturbed_one():
    # g = (1, 2), g_s = (2, 0): the orthogonal part is (0, 2).
    result = emitted(ol.gsam(RHO, alpha=0.25), jnp.array([1.0, 2.0]), jnp.array([2.0, 0.0]))
    np.testing.assert_allclose(result, [2.0, -0.5])


def test_saner_shrinks_components_between_zero_and_the_plain_gradient():
    tx, w = ol.saner(RHO, alpha=0.25), jnp.zeros(6)
    g = jnp.array([2.0, -2.0, 2.0, 2.0, 0.0, 2.0])
    g_s = jnp.array([1.0, -1.0, 3.0, -1.0, 1.0, 2.0])
    result, _ = tx.update(g, tx.init(w), w, grad_fn=lambda p, i: g_s)
    np.testing.assert_allclose(result, [0.75, -0.75, 3.0, -1.0, 1.0, 2.0])


@pytest.mark.parametrize(
    "make",
    [
        lambda alpha: ol.gsam(1e-9, alpha),
        lambda alpha: ol.gnp(1e-9, alpha),
        lambda alpha: ol.saner(1e-9, alpha),
    ],
)
def test_alpha_may_be_a_schedule_of_training_steps(make):
    plain, perturbed = jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])
    schedule = lambda t: 0.1 + 0.2 * t
    tx, w = make(schedule), jnp.zeros(2)
    state = tx.init(w)
    for t in range(3):
        updates, state = tx.update(plain, state, w, grad_fn=lambda p, i: perturbed)
        expected = emitted(make(schedule(t)), plain, perturbed)
        np.testing.assert_allclose(updates, expected, rtol=1e-6)


# Filters: their averages, in front of other rules, under other loops and under policies.


def gradients(steps=6, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, 3))


def means(grads, decay):
    """Friendly SAM's mean after each step, which starts at the first gradient."""
    m, result = grads[0], []
    for g in grads:
        m = decay * m + (1 - decay) * g
        result.append(m)
    return result


def friendly():
    return optax.chain(ol.friendly_filter(0.5, 0.8), ol.sam_perturbation(1.0))


def run_state(tx, grads):
    """The state after steps with given plain gradients; perturbed ones are far away from them."""
    w = jnp.zeros(3)
    step = jax.jit(lambda g, state: tx.update(g, state, w, grad_fn=lambda p, i: 100 + p)[1])
    state = tx.init(w)
    for g in jnp.asarray(grads):
        state = step(g, state)
    return state


@exact
@pytest.mark.parametrize(
    "wrap",
    [
        lambda rule: ol.multistep(ol.stochastic_perturbation(rule), 2),
        lambda rule: ol.lookbehind(rule, 2, 0.5, fast_optimizer=optax.sgd(0.1)),
        lambda rule: ol.adaptive_policy(ol.lookbehind(rule, 2, "adaptive"), 6),
    ],
    ids=["stochastic multistep", "lookbehind with its optimizer", "policy around lookbehind"],
)
def test_a_filter_averages_the_plain_gradient_of_every_training_step(wrap):
    grads = gradients()
    state = run_state(wrap(friendly()), grads)
    np.testing.assert_allclose(optax.tree.get(state, "mean"), means(grads, 0.8)[-1], rtol=1e-12)


@exact
def test_friendly_sam_perturbs_along_the_gradient_less_its_mean_before():
    grads = gradients()
    rule = friendly()
    state, w = rule.init(jnp.zeros(3)), jnp.zeros(3)
    before = [np.zeros(3), *means(grads, 0.8)]
    for g, m in zip(grads, before, strict=False):
        e, state = rule.update(jnp.asarray(g), state, w)
        d = g - 0.5 * m
        np.testing.assert_allclose(e, d / np.linalg.norm(d), rtol=1e-12)


@exact
def test_filters_share_the_averaged_gradient_between_unsynced_devices():
    tx = ol.friendly_sam(RHO, axis_name="data", sync_perturbation=False)
    grads = jnp.asarray(gradients(2))

    def step(g):
        w = jnp.zeros(3)
        state = tx.init(w)
        return tx.update(g, state, w, grad_fn=lambda p, i: p + g)[1]

    # out_axes=None raises for a state that differs between the devices.
    state = jax.vmap(step, axis_name="data", out_axes=None)(grads)
    np.testing.assert_allclose(optax.tree.get(state, "mean"), grads.mean(0), rtol=1e-12)


@pytest.mark.parametrize("make", [ol.friendly_filter, ol.vasso_filter])
def test_the_average_of_bfloat16_gradients_is_float32(make):
    tx, w = make(), jnp.ones(3, jnp.bfloat16)
    updates, state = tx.update(w, tx.init(w))
    assert updates.dtype == jnp.bfloat16
    assert state.mean.dtype == jnp.float32


# Masks.


@exact
@pytest.mark.parametrize(
    "mask", [{"hidden": False, "norm": True}, is_norm, {"hidden": False, "norm": {"s": True}}]
)
@pytest.mark.parametrize("rule", [ol.sam_perturbation, ol.asam_perturbation])
def test_masked_perturbation_perturbs_only_the_mask_with_the_full_radius(rule, mask):
    w = {"hidden": jnp.arange(3.0), "norm": {"s": jnp.ones(2)}}
    g = {"hidden": jnp.ones(3), "norm": {"s": jnp.array([3.0, -4.0])}}
    masked = ol.masked_perturbation(rule(0.5), mask)
    e, _ = masked.update(g, masked.init(w), w)
    alone = rule(0.5)
    expected, _ = alone.update(g["norm"], alone.init(w["norm"]), w["norm"])
    np.testing.assert_allclose(e["hidden"], 0)
    np.testing.assert_allclose(e["norm"]["s"], expected["s"], rtol=1e-12)


@pytest.mark.parametrize("mask", [False, lambda params: {"w": False}, {"w": False}])
def test_a_mask_without_any_weight_raises(mask):
    with pytest.raises(ValueError, match="mask"):
        ol.sam_on(0.5, mask).init({"w": jnp.ones(2)})


# Complete methods.

COMPLETE = {
    "momentum_sam": lambda: ol.momentum_sam(sgd(), RHO),
    "wsam_decoupled": lambda: ol.wsam_decoupled(sgd(), LEARNING_RATE, RHO),
}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: ol.adaptive_policy(inner, 10),
        lambda inner: ol.periodic_policy(inner, 2),
        lambda inner: ol.random_policy(optax.chain(optax.clip(1.0), inner)),
        lambda inner: ol.reuse_direction(inner, 0.5),
    ],
)
@pytest.mark.parametrize(
    ("name", "state"), [("momentum_sam", "MomentumSAM"), ("wsam_decoupled", "WSAMDecoupled")]
)
def test_policies_reject_complete_methods_by_name(name, state, wrap):
    with pytest.raises(ValueError, match=state):
        wrap(COMPLETE[name]()).init(jnp.ones(2))


@exact
@pytest.mark.parametrize(
    "optimizer",
    [
        optax.sgd(0.1, momentum=0.9, nesterov=True),
        optax.adamw(0.05, weight_decay=0.1),
        optax.lion(0.05),
        optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9)),
        optax.inject_hyperparams(optax.sgd)(0.1, momentum=0.9),
        optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.05)),
    ],
    ids=["nesterov", "adamw", "lion", "decayed sgd", "injected", "clipped adam"],
)
def test_momentum_sam_is_the_optimizer_at_the_weights_without_the_perturbation(optimizer):
    # The optimizer gets the gradients at w + e and moves w: weight decay does not see e.
    tx = ol.momentum_sam(optimizer, RHO)
    step, grad, update = (
        jax.jit(make_step(tx)),
        jax.jit(jax.grad(loss_fn)),
        jax.jit(optimizer.update),
    )
    params, batch = start(), jax.tree.map(lambda x: x[0], minibatches())
    state, w, own_state = tx.init(params), params, optimizer.init(params)
    for _ in range(3):
        u, own_state = update(grad(params, batch), own_state, w)
        w = optax.apply_updates(w, u)
        params, state = step(params, state, batch)
        clean = ol.momentum_sam_eval_params(state, params)
        np.testing.assert_allclose(flatten(clean), flatten(w), rtol=0, atol=1e-12)
        distance = np.linalg.norm(flatten(params) - flatten(w))
        np.testing.assert_allclose(distance, RHO, rtol=1e-12)


@exact
def test_momentum_sam_perturbs_along_the_last_update():
    tx, w = ol.momentum_sam(sgd(), RHO), jnp.zeros(2)
    updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(w), w)
    u = ol.momentum_sam_eval_params(state, updates)
    np.testing.assert_allclose(u, -LEARNING_RATE * np.array([3.0, 4.0]), rtol=1e-12)
    np.testing.assert_allclose(updates - u, -RHO * np.array([0.6, 0.8]), rtol=1e-12)


@exact
def test_a_scheduled_rho_takes_off_the_perturbation_it_put_on():
    radii = [0.0, 0.5, 0.0, 0.2]
    tx = ol.momentum_sam(sgd(), lambda t: jnp.asarray(radii)[t])
    _, states = train(tx, steps=4)
    distances = [
        np.linalg.norm(flatten(params) - flatten(ol.momentum_sam_eval_params(state, params)))
        for state, params in states
    ]
    np.testing.assert_allclose(distances, radii, rtol=0, atol=1e-12)


def test_momentum_sam_keeps_no_copy_of_the_weights():
    w = jnp.ones(1000)
    size = lambda tx: sum(leaf.size for leaf in jax.tree.leaves(tx.init(w)))
    assert size(ol.momentum_sam(sgd(), RHO)) == size(sgd()) + 2


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.sgd(0.1),
        optax.chain(optax.trace(0.9), optax.adam(0.1)),
        optax.masked(optax.adam(0.1), {"a": True, "b": False}),
    ],
)
def test_momentum_sam_needs_one_momentum_of_all_weights(optimizer):
    with pytest.raises(ValueError, match="optimizer"):
        ol.momentum_sam(optimizer, RHO).init({"a": jnp.ones(2), "b": jnp.ones(2)})


def test_momentum_sam_is_found_under_wrappers_and_among_weights_called_mu():
    params = {"mu": jnp.ones(2), "trace": jnp.ones(3)}
    tx = optax.MultiSteps(ol.momentum_sam(optax.adam(0.1), RHO), 1).gradient_transformation()
    state = tx.init(params)
    updates, state = tx.update(params, state, params)
    moved = optax.apply_updates(params, updates)
    clean = ol.momentum_sam_eval_params(state, moved)
    distance = optax.tree.norm(optax.tree.sub(moved, clean))
    np.testing.assert_allclose(distance, RHO, rtol=1e-5)


def test_momentum_sam_eval_params_needs_the_state():
    params = jnp.ones(2)
    with pytest.raises(ValueError, match="state"):
        ol.momentum_sam_eval_params(sgd().init(params), params)


@exact
def test_wsam_decoupled_takes_a_schedule_as_learning_rate():
    radius = 1e-9  # g_s is given: only the sharpness term depends on the rate
    tx = ol.wsam_decoupled(optax.sgd(0.0), lambda t: 0.1 * (1 + t), radius, gamma=0.75)
    w, g, g_s = jnp.zeros(2), jnp.array([1.0, 2.0]), jnp.array([2.0, 5.0])
    state = tx.init(w)
    for t in range(3):
        updates, state = tx.update(g, state, w, grad_fn=lambda p, i: g_s)
        np.testing.assert_allclose(updates, -0.1 * (1 + t) * 3 * (g_s - g), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: ol.gsam(RHO, alpha=-1.0), "alpha", "-1.0"),
        (lambda: ol.gnp(RHO, alpha=jnp.inf), "alpha", "inf"),
        (lambda: ol.wsam(RHO, gamma=1.0), "gamma", "1.0"),
        (lambda: ol.saner(RHO, alpha=1.5), "alpha", "1.5"),
        (lambda: ol.friendly_sam(RHO, sigma=-0.5), "sigma", "-0.5"),
        (lambda: ol.friendly_sam(RHO, decay=1.0), "decay", "1.0"),
        (lambda: ol.vasso(RHO, theta=0.0), "theta", "0.0"),
        (lambda: ol.usam(0.0), "rho", "0.0"),
        (lambda: ol.momentum_sam(sgd(), -1.0), "rho", "-1.0"),
        (lambda: ol.momentum_sam(0.1, RHO), "optimizer", "0.1"),
        (lambda: ol.wsam_decoupled(sgd(), 0.0, RHO), "learning_rate", "0.0"),
        (lambda: ol.wsam_decoupled(sgd(), 0.1, RHO, gamma=-0.1), "gamma", "-0.1"),
        (lambda: ol.masked_perturbation(0.1, True), "perturbation", "0.1"),
    ],
)
def test_arguments_outside_their_range_raise(make, name, value):
    with pytest.raises(ValueError, match=name) as error:
        make()
    assert value in str(error.value)
