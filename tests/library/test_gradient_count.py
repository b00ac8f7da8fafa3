"""Gradient evaluations of a step, counted while the compiled program runs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import quadratic


class Counter:
    """Counts calls made from inside compiled code."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1

    def gradient(self, matrix):
        def grad_fn(params, i):
            del i
            jax.debug.callback(self)
            return matrix @ params

        return grad_fn


def gradients_of_one_step(tx):
    """Gradients that one jitted training step evaluates, the caller's included."""
    matrix, w = map(jnp.asarray, quadratic())
    counter = Counter()
    grad_fn = counter.gradient(matrix)

    @jax.jit
    def step(w, state):
        return tx.update(grad_fn(w, 0), state, w, grad_fn=grad_fn)

    state = tx.init(w)
    jax.block_until_ready(step(w, state))
    jax.effects_barrier()
    return counter.count


@pytest.mark.parametrize("k", [1, 2, 5, 12])
@pytest.mark.parametrize(
    "make",
    [
        lambda k: ol.multistep_sam(k, 0.1),
        lambda k: ol.multistep_asam(k, 0.1, average=True),
        lambda k: ol.xsam(0.1, 1.4, k),
        lambda k: ol.lookbehind_sam(k, 0.1, "adaptive"),
        lambda k: ol.lookbehind_asam(k, 0.1, 0.5, fast_optimizer=optax.adam(0.1)),
    ],
)
def test_k_ascent_steps_cost_k_plus_one_gradients(make, k):
    assert gradients_of_one_step(make(k)) == k + 1


@pytest.mark.parametrize("k", [1, 2, 5])
def test_switch_minibatch_costs_two_gradients_per_minibatch(k):
    tx = ol.lookbehind_sam(k, 0.1, 0.5, switch_minibatch=True)
    assert gradients_of_one_step(tx) == 2 * k


@pytest.mark.parametrize(
    "tx",
    [
        ol.sam(0.1),
        ol.asam(0.1),
        ol.esam(0.1),
        ol.gsam(0.1),
        ol.gnp(0.1),
        ol.wsam(0.1),
        ol.stable_sam(0.1),
        ol.saner(0.1),
        ol.sam_on(0.1, True),
        ol.usam(0.1),
        ol.friendly_sam(0.1),
        ol.vasso(0.1),
        ol.le_sam(0.1, rho_max=0.2),
        ol.multistep(ol.rms_perturbation(0.1)),
        ol.wsam_decoupled(optax.sgd(0.1), 0.1, 0.1),
    ],
)
def test_sam_and_its_variants_cost_two(tx):
    assert gradients_of_one_step(tx) == 2


def test_momentum_sam_costs_one():
    assert gradients_of_one_step(ol.momentum_sam(optax.sgd(0.1, momentum=0.9), 0.1)) == 1


NEVER, ALWAYS = {"lambda_1": np.inf, "lambda_2": np.inf}, {"lambda_1": -np.inf, "lambda_2": -np.inf}


@pytest.mark.parametrize(
    ("tx", "expected"),
    [
        (ol.ae_sam(0.1, 10, **ALWAYS), 2),
        (ol.ae_sam(0.1, 10, **NEVER), 1),
        (ol.ae_looksam(0.1, 0.5, 10, **NEVER), 1),
        (ol.ae_lookbehind_sam(4, 0.1, "adaptive", 10, **ALWAYS), 5),
        (ol.ae_lookbehind_sam(4, 0.1, "adaptive", 10, **NEVER), 1),
        (ol.ss_sam(0.1, probability=0.0), 1),
        (ol.ss_sam(0.1, probability=1.0), 2),
    ],
)
def test_a_policy_takes_no_gradients_on_plain_steps(tx, expected):
    assert gradients_of_one_step(tx) == expected


def test_looksam_costs_two_gradients_once_per_period_and_one_otherwise():
    matrix, w = map(jnp.asarray, quadratic())
    counter = Counter()
    grad_fn = counter.gradient(matrix)
    tx = ol.looksam(0.1, 0.5, period=3)
    step = jax.jit(lambda w, state: tx.update(grad_fn(w, 0), state, w, grad_fn=grad_fn))
    state, counts = tx.init(w), []
    for _ in range(6):
        _, state = step(w, state)
        jax.block_until_ready(state)
        jax.effects_barrier()
        counts.append(counter.count)
        counter.count = 0
    assert counts == [2, 1, 1, 2, 1, 1]
