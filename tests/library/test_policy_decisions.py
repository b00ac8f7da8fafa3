"""Recorded decisions of the policies, and decisions of the caller: steps without a branch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.methods import each
from tests.support.problems import quadratic

# For lambda_1, lambda_2, decay and total_steps, in each step: the squared norm of the plain
# gradient, the decision, and mu, var and threshold after it, computed with 30 decimal digits.
RECORDED = {
    (-1.0, 1.0, 0.5, 4): [
        (4.0, True, 2.0, 2.0000226999649, 3.4142215879999),
        (1.0, False, 1.5, 1.1250113499824, 2.0303327610997),
        (9.0, True, 5.25, 7.5937556749912, 5.25),
        (4.0, True, 4.625, 3.9921903374956, 3.6259766847696),
        (2.0, True, 3.3125, 2.8574232937478, 1.622108538312),
        (0.25, True, 1.78125, 2.6010749281239, 0.1684651637233),
    ],
    (0.0, 2.0, 0.9, 10): [
        (1.0, True, 0.1, 0.0810408599368, 0.6693535279131),
        (1.0, True, 0.19, 0.1385467739431, 0.859993692191),
        (0.04, False, 0.175, 0.1265145965488, 0.7441022466701),
        (9.0, True, 1.0575, 6.4221937618939, 4.6053866629745),
    ],
}


@pytest.mark.parametrize("arguments", RECORDED)
def test_the_adaptive_decisions_and_statistics_are_the_recorded_ones(arguments, float64):
    lambda_1, lambda_2, decay, total_steps = arguments
    policy = ol.adaptive_policy(total_steps, lambda_1, lambda_2, decay)
    w = jnp.zeros(2)
    state = policy.init(w)
    for step, (squared, apply, *statistics) in enumerate(RECORDED[arguments]):
        grads = jnp.sqrt(squared) * jnp.array([0.6, -0.8])
        decision, state = policy.decide(state, jnp.int32(step), grads)
        np.testing.assert_allclose(state, statistics, rtol=1e-10)
        assert decision == apply


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (ol.periodic_policy(3), "10010010"),
        (ol.late_policy(8, 0.375), "00000111"),
        (ol.late_policy(10, 0.9), "01111111"),  # 0.999... is rounded
        (ol.late_policy(8, 0.0), "00000000"),
        (ol.late_policy(8, 1.0), "11111111"),
        (ol.random_policy(0.5, key=1), "10001110"),
    ],
)
def test_the_decisions_of_the_other_policies_are_the_recorded_ones(policy, expected):
    w = jnp.zeros(2)
    state, decisions = policy.init(w), ""
    for step in range(8):
        apply, state = policy.decide(state, jnp.int32(step), w)
        decisions += str(int(apply))
    assert decisions == expected


def test_a_late_policy_may_be_injected():
    late = lambda fraction: ol.late_sam(0.1, 8, fraction)
    tx, w = optax.inject_hyperparams(late)(fraction=0.5), jnp.ones(2)
    state, applied = tx.init(w), []
    for _ in range(8):
        _, state = jax.jit(lambda s: tx.update(w, s, w, grad_fn=lambda p, i: p))(state)
        applied.append(int(optax.tree.get(state, "applied")))
    assert applied == [0, 0, 0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("sync", [None, True, False])
@each(lambda method: method.has_policy)
def test_a_decision_of_the_caller_has_the_result_of_the_branch(method, sync, float64):
    matrix, w = map(jnp.asarray, quadratic())
    noise = 2 * jax.random.normal(jax.random.key(2), (6, len(w)))
    options = {} if sync is None else {"axis_name": "data", "sync_perturbation": sync}
    tx = method.make(**options)

    def update(w, state, t, apply=None):
        def on_device(shift):
            loss_fn = lambda w: w @ matrix @ w / 2 + (noise[t] + shift) @ w
            _, grads, grad_fn = ol.value_and_grad(loss_fn)(w)
            return tx.update(grads, state, w, grad_fn=grad_fn, apply=apply)

        if sync is None:
            return on_device(0.0)
        return jax.vmap(on_device, axis_name="data", out_axes=None)(jnp.array([0.0, 0.5]))

    compiled = jax.jit(update, static_argnames="apply")
    state, kinds = tx.init(w), set()
    for t in range(6):
        updates, next_state = compiled(w, state, t)
        applied = optax.tree.get(next_state, "applied") > optax.tree.get(state, "applied")
        known = compiled(w, state, t, apply=bool(applied))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14),
            known,
            (updates, next_state),
        )
        kinds.add(bool(applied))
        w, state = w - 0.05 * updates, next_state
    assert kinds == {True, False}


def test_a_decision_of_the_caller_leaves_no_branch_and_overrules_the_policy():
    w, tx = jnp.ones(3), ol.looksam(0.1, 0.5, period=2)
    update = lambda state, apply: tx.update(2 * w, state, w, grad_fn=lambda p, i: p, apply=apply)
    state = tx.init(w)
    for apply in (None, True, False):
        program = str(jax.make_jaxpr(lambda s, apply=apply: update(s, apply))(state))
        assert ("cond[" in program) == (apply is None)
    for apply, count in ((False, 0), (True, 1), (True, 2), (False, 2)):
        _, state = update(state, apply)
        assert optax.tree.get(state, "applied") == count
    assert state.policy_state.step == 4


@pytest.mark.parametrize("make", [lambda: ol.sam(0.1), lambda: ol.lookbehind_sam(2, 0.1, 0.5)])
def test_without_a_policy_the_caller_may_ask_for_a_plain_step(make):
    w, tx = jnp.ones(3), make()
    updates, state = tx.update(w, tx.init(w), w, grad_fn=lambda p, i: 5 * p, apply=False)
    np.testing.assert_array_equal(updates, w)
    assert not optax.tree.get(state, "perturbed_losses").any()


@pytest.mark.parametrize("apply", [1, "yes", np.True_])
def test_a_decision_that_is_no_python_bool_raises(apply):
    w, tx = jnp.ones(3), ol.ae_sam(0.1, 10)
    with pytest.raises(ValueError, match=r"^apply must be True or False.*Policy"):
        tx.update(w, tx.init(w), w, grad_fn=lambda p, i: p, apply=apply)
