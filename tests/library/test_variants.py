"""GSAM, WSAM, Friendly SAM, Momentum-SAM and others: limits, zero gradients, arguments."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.variants import (
    LEARNING_RATE,
    sgd,
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
        (lambda: chained(ol.late_sam(RHO, 8, fraction=1.0)), sam),
        (lambda: chained(ol.late_sam(RHO, 8, fraction=0.0)), plain_sgd),
        (lambda: chained(ol.le_sam(1e6, rho_max=RHO)), sam),
        (lambda: chained(ol.le_sam(1e-20)), plain_sgd),
        (lambda: chained(ol.xsam(RHO, alpha=1.0)), sam),
        (lambda: chained(ol.xsam(RHO, 1.0, k=3)), lambda: chained(ol.multistep_sam(3, RHO))),
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
        "late sam with fraction 1 is sam",
        "late sam with fraction 0 is sgd",
        "le-sam with a budget above its cap is sam",
        "le-sam without a budget is sgd",
        "xsam with alpha 1 is sam",
        "xsam with alpha 1 is multistep sam",
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
    "le_sam": lambda: ol.le_sam(0.1),
    "xsam": lambda: ol.xsam(RHO, alpha=1.4),
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
        lambda alpha: ol.xsam(1e-9, alpha),
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
        (lambda: ol.le_sam(0.0), "budget", "0.0"),
        (lambda: ol.le_sam(0.1, rho_max=-1.0), "rho_max", "-1.0"),
        (lambda: ol.xsam(RHO, alpha=-0.1), "alpha", "-0.1"),
        (lambda: ol.xsam(RHO, 1.0, k=0), "k", "0"),
        (lambda: ol.rms_perturbation(0.0), "rho", "0.0"),
        (lambda: ol.rms_perturbation(RHO, decay=1.0), "decay", "1.0"),
        (lambda: ol.rms_perturbation(RHO, eps=0.0), "eps", "0.0"),
        (lambda: ol.momentum_sam(sgd(), -1.0), "rho", "-1.0"),
        (lambda: ol.wsam_decoupled(sgd(), 0.0, RHO), "learning_rate", "0.0"),
        (lambda: ol.wsam_decoupled(sgd(), 0.1, RHO, gamma=-0.1), "gamma", "-0.1"),
    ],
)
def test_arguments_outside_their_range_raise(make, name, value):
    with pytest.raises(ValueError, match=name) as error:
        make()
    assert value in str(error.value)
