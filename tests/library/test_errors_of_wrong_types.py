"""Arguments of a wrong type: an error that names the argument and what would be right."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.errors import raises

METHODS = {
    "sam": lambda **options: ol.sam(0.1, **options),
    "lookbehind_sam": lambda **options: ol.lookbehind_sam(2, 0.1, 0.5, **options),
    "looksam": lambda **options: ol.looksam(0.1, 0.5, **options),
    "ae_sam": lambda **options: ol.ae_sam(0.1, 10, **options),
}


@pytest.mark.parametrize(
    "rho",
    [
        jax.random.key(0),
        np.str_("0.1"),
        np.True_,
        True,
        0.1j,
        np.complex64(0.1),
        jnp.complex64(0.1),
        jnp.bool_(True),
        np.ones(1),
    ],
    ids=repr,
)
def test_rho_of_a_wrong_type_raises(rho):
    with raises("rho", rho):
        ol.sam(rho)


@pytest.mark.parametrize("rho", [True, 0.1j, jax.random.key(0)], ids=repr)
def test_traced_values_of_a_wrong_type_raise(rho):
    with pytest.raises(ValueError, match=r"^rho must be a finite number"):
        jax.eval_shape(lambda rho: ol.sam(rho).init(jnp.ones(2)), rho)


WRONG = {
    "nothing": (lambda p, i: None, r"^the result of grad_fn .*nothing"),
    "a pair": (lambda p, i: (p, p), r"^the result of grad_fn must .*ValueAndGrads"),
    "integers": (lambda p, i: p.astype(int), r"^the result of grad_fn .*int32"),
    "bools": (lambda p, i: p > 0, r"^the result of grad_fn .*bool"),
    "complex numbers": (lambda p, i: p * 1j, r"^the result of grad_fn .*complex64"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_grad_fn_raises(method, name):
    grad_fn, message = WRONG[name]
    w, tx = jnp.ones(2), METHODS[method]()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        tx.update(w, tx.init(w), w, grad_fn=grad_fn)
    problems = ol.check_grad_fn(grad_fn, w, w)
    assert len(problems) == 1


SCHEDULED = {
    "rho": lambda schedule: ol.sam(schedule),
    "alpha": lambda schedule: ol.lookbehind_sam(2, 0.1, schedule),
    "weight": lambda schedule: ol.multistep(
        ol.sam_perturbation(0.1), combine=ol.combination(lambda g, g_s, weight: g, weight=schedule)
    ),
    "learning_rate": lambda schedule: ol.wsam_decoupled(optax.sgd(0.1), schedule, 0.1),
}


@pytest.mark.parametrize("name", SCHEDULED)
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, (3,)])
def test_a_schedule_that_returns_no_number_raises(name, value):
    if (name, value) == ("weight", -1.0):
        return  # any finite number
    schedule = (lambda t: jnp.ones(value)) if value == (3,) else (lambda t: jnp.float32(value))
    w = jnp.ones(2)

    def step():
        tx = SCHEDULED[name](schedule)
        tx.update(w, tx.init(w), w, grad_fn=lambda p, i: p)

    with pytest.raises(ValueError, match=rf"^{name} must be"):
        step()


def test_the_schedule_of_looksams_alpha_is_checked():
    tx, w = ol.looksam(0.1, lambda t: jnp.float32(np.nan) * t, period=2), jnp.ones(2)
    state = tx.init(w)
    _, state = tx.update(w, state, w, grad_fn=lambda p, i: p)


def test_momentum_sams_schedule_is_checked():
    tx = ol.momentum_sam(optax.sgd(0.1, momentum=0.9), lambda t: -1.0 - t)
    w = jnp.ones(2)
    with pytest.raises(ValueError, match=r"^rho must be"):
        tx.update(w, tx.init(w), w)


def test_a_schedule_that_starts_at_zero_is_right():
    tx, w = ol.sam(optax.linear_schedule(0.0, 0.1, 10)), jnp.ones(2)
    updates, _ = tx.update(w, tx.init(w), w, grad_fn=lambda p, i: p)
    np.testing.assert_array_equal(updates, w)


@pytest.mark.parametrize(("size", "word"), [(1e-30, "small"), (1e30, "large")])
def test_the_check_of_a_setup_names_gradients_beyond_float32(size, word):
    w = jnp.array([1.0, 2.0])
    problem, _ = ol.check_grad_fn(lambda p, i: size * p, w, size * w)  # of both gradients
    assert f"too {word}" in problem


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ((jnp.ones(2, bool), jnp.zeros(2)), "decide must return .*bool scalar"),
        ((True, jnp.zeros(3)), "the state of decide must have"),
        ((True, None), "the state of decide must have"),
    ],
)
def test_a_decision_of_another_form_raises(decision, words):
    policy = ol.Policy(lambda p: jnp.zeros(2), lambda *_: decision)
    tx, w = ol.multistep(ol.sam_perturbation(0.1), policy=policy), jnp.ones(2)
    with pytest.raises(ValueError, match=words):
        tx.update(w, tx.init(w), w, grad_fn=lambda p, i: p)


@pytest.mark.parametrize("mask", ["a", None, 1, {"a": True}, {"a": True, "b": "x"}, [True, True]])
@pytest.mark.parametrize(
    "make",
    [
        lambda mask: ol.sam_on(0.1, mask),
        lambda mask: ol.sam_on(0.1, lambda params: mask),
        lambda mask: ol.asam(0.1, mask=lambda params: mask),
    ],
    ids=["sam_on", "callable", "asam"],
)
def test_a_mask_of_another_form_raises(make, mask, request):
    if mask is None and "asam" in request.node.name:
        return  # no mask
    w = {"a": jnp.ones(2), "b": jnp.ones(3)}
    tx = make(mask)
    with pytest.raises(ValueError, match=r"^mask must be a pytree of bools"):
        tx.update(w, tx.init(w), w, grad_fn=lambda p, i: p)
