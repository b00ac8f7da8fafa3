"""Arguments outside their range or of a wrong type: errors with the argument and its value."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optax_lookbehind as ol
from tests.support.errors import raises
from tests.support.methods import each

ANYTHING = st.one_of(
    st.floats(),
    st.integers(-3, 3),
    st.integers(),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
    st.complex_numbers(),
    st.just("adaptive"),
    st.sampled_from([2**31, 2**31 - 1, 1e-45, 1e-50, 1e39, 5e-324]),
    st.lists(st.floats(), max_size=2),
    st.floats(width=32).map(np.float32),
    st.floats().map(np.array),
    st.floats().map(lambda x: np.array([x])),
    st.booleans().map(np.bool_),
    st.sampled_from([np.str_("0.1"), np.complex64(0.1), b"0.1", {}, (), object(), int, np.nan]),
)


def number(value):
    """The value as a float of Python; None if it is not a finite real scalar."""
    if isinstance(value, (bool, np.bool_, str, bytes, complex, np.complexfloating)):
        return None
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, (int, float, np.floating)):
        return None
    return float(value) if math.isfinite(value) else None


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


ARGUMENTS = {
    "rho": (ol.sam_perturbation, lambda x: x is not None and x > 0),
    "eta": (lambda x: ol.asam(0.1, eta=x), lambda x: x is not None and x >= 0),
    "alpha": (lambda x: ol.lookbehind_sam(2, 0.1, x), lambda x: x is not None and 0 < x <= 1),
    "decay": (lambda x: ol.ae_sam(0.1, 9, decay=x), lambda x: x is not None and 0 <= x < 1),
    "probability": (lambda x: ol.ss_sam(0.1, x), lambda x: x is not None and 0 <= x <= 1),
    "beta": (lambda x: ol.esam(0.1, beta=x), lambda x: x is not None and 0 < x <= 1),
    "theta": (ol.vasso_filter, lambda x: x is not None and 0 < x <= 1),
    "gamma": (lambda x: ol.wsam(0.1, gamma=x), lambda x: x is not None and 0 <= x < 1),
    "k": (lambda x: ol.multistep_sam(x, 0.1), is_count),
    "fraction": (lambda x: ol.late_sam(0.1, 9, x), lambda x: x is not None and 0 <= x <= 1),
    "sigma": (ol.friendly_filter, lambda x: x is not None and x >= 0),
    "learning_rate": (
        lambda x: ol.wsam_decoupled(optax.sgd(0.1), x, 0.1),
        lambda x: x is not None and x > 0,
    ),
    "period": (lambda x: ol.looksam(0.1, 0.5, x), is_count),
    "total_steps": (lambda x: ol.ae_sam(0.1, x), is_count),
}


@pytest.mark.parametrize("name", ARGUMENTS)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(value=ANYTHING)
def test_an_argument_of_any_kind_is_valid_or_named(name, value):
    make, is_valid = ARGUMENTS[name]
    valid = is_valid(value if is_valid is is_count else number(value))
    if name == "alpha" and value in ("adaptive", "adaptive_per_tensor"):
        valid = True
    if valid:
        assert isinstance(make(value), optax.GradientTransformation)
    else:
        if callable(value):
            return
        with pytest.raises(ValueError, match=rf"^{name} "):
            make(value)


@each(lambda method: "rho" in method.arguments)
def test_every_method_checks_rho(method):
    with raises("rho", -0.1):
        method.make(rho=-0.1)


def test_k_may_be_a_numpy_integer():
    ol.lookbehind_sam(np.int64(3), 0.1, 0.5)


def test_k_under_inject_hyperparams_raises_with_the_static_argument_to_pass():
    tx = optax.inject_hyperparams(ol.multistep_sam)(k=2, rho=0.1)
    with pytest.raises(ValueError, match=r'^k .*static_args=\("k",\)'):
        tx.init(jnp.ones(2))


@pytest.mark.parametrize(
    ("name", "value", "make"),
    [
        *(("alpha", a, ol.surrogate_gap) for a in (-1.0, np.inf)),
        *(("alpha", a, ol.reuse_direction) for a in (-1.0, np.inf, "adaptive")),
        *(("alpha", a, ol.interpolated) for a in (-0.1, np.nan)),
        ("alpha", 1.5, ol.down_weighted),
        ("alpha", jnp.inf, ol.weighted),
        ("alpha", "adaptve", lambda a: ol.lookbehind_sam(2, 0.1, a)),
        ("lambda_1", np.nan, lambda x: ol.ae_sam(0.1, 10, x, 1.0)),
        ("lambda_2", "x", lambda x: ol.ae_sam(0.1, 10, 1.0, x)),
        ("lambda_1", -np.inf, lambda x: ol.ae_sam(0.1, 10, x, 1.0)),
        ("gamma", 0, lambda g: ol.sharpest_examples_grad_fn(lambda w: w, jnp.ones(2), g)),
        ("weight", np.nan, lambda x: ol.combination(lambda *gradients: 0, weight=x)),
        ("decay", 1.0, lambda d: ol.rms_perturbation(0.1, decay=d)),
        ("eps", 0.0, lambda eps: ol.rms_perturbation(0.1, eps=eps)),
        ("budget", 0.0, ol.le_sam),
        ("rho_max", -1.0, lambda x: ol.le_sam(0.1, x)),
    ],
)
def test_values_outside_their_range_raise(name, value, make):
    with raises(name, value):
        make(value)


@pytest.mark.parametrize("alpha", [-1, -1.0, np.float32(-1)])
def test_the_authors_adaptive_alpha_raises_with_its_names_here(alpha):
    with pytest.raises(ValueError, match=r'^alpha .*"adaptive_per_tensor".*"adaptive"') as error:
        ol.lookbehind_sam(2, 0.1, alpha)
    assert repr(alpha) in str(error.value)


@pytest.mark.parametrize("rho", [True, 0.1j, jax.random.key(0)], ids=repr)
def test_traced_values_of_a_wrong_type_raise(rho):
    with pytest.raises(ValueError, match=r"^rho must be a finite number"):
        jax.eval_shape(lambda rho: ol.sam(rho).init(jnp.ones(2)), rho)


def test_traced_scalars_are_not_checked():
    assert jax.jit(lambda rho: ol.sam(rho).init(jnp.ones(2)) is not None)(0.1)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("eta", lambda schedule: ol.asam(0.1, eta=schedule)),
        ("beta", lambda schedule: ol.esam(0.1, beta=schedule)),
        ("probability", lambda schedule: ol.ss_sam(0.1, probability=schedule)),
        ("decay", lambda schedule: ol.ae_sam(0.1, 10, decay=schedule)),
    ],
)
def test_an_unsupported_schedule_raises_with_inject_hyperparams(name, make):
    with pytest.raises(ValueError, match=rf"^{name} .*\binject_hyperparams"):
        make(optax.constant_schedule(0.5))


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


def test_momentum_sams_schedule_is_checked():
    tx = ol.momentum_sam(optax.sgd(0.1, momentum=0.9), lambda t: -1.0 - t)
    w = jnp.ones(2)
    with pytest.raises(ValueError, match=r"^rho must be"):
        tx.update(w, tx.init(w), w)


def test_a_schedule_that_starts_at_zero_is_right():
    tx, w = ol.sam(optax.linear_schedule(0.0, 0.1, 10)), jnp.ones(2)
    updates, _ = tx.update(w, tx.init(w), w, grad_fn=lambda p, i: p)
    np.testing.assert_array_equal(updates, w)


def test_an_unsynced_perturbation_needs_an_axis():
    for make in (lambda **o: ol.sam(0.1, **o), lambda **o: ol.lookbehind_sam(2, 0.1, 0.5, **o)):
        with pytest.raises(ValueError, match=r"^sync_perturbation=False .*axis_name=None"):
            make(sync_perturbation=False)


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


def test_a_scheduled_alpha_must_be_a_scalar():
    with raises("alpha", (3,)):
        ol.lookbehind_sam(2, 0.1, lambda t: jnp.ones(3)).init(jnp.ones(3))


def test_a_combination_of_another_type_raises():
    for combine in (0.5, optax.identity(), lambda clean, perturbed: perturbed):
        with pytest.raises(ValueError, match=r"^combine must be a Combination.*combination\(fn\)"):
            ol.multistep(ol.sam_perturbation(0.1), combine=combine)


@pytest.mark.parametrize("policy", [ol.sam(0.1), 0.5, lambda *_: True])
def test_a_policy_of_another_type_raises(policy):
    for make in (
        lambda **o: ol.multistep(ol.sam_perturbation(0.1), **o),
        lambda **o: ol.lookbehind(ol.sam_perturbation(0.1), 2, 0.5, **o),
    ):
        with pytest.raises(ValueError, match=r"^policy must be a Policy, such as adaptive_policy"):
            make(policy=policy)


def test_a_method_in_the_place_of_total_steps_raises():
    with raises("total_steps"):
        ol.adaptive_policy(ol.sam(0.1), 10)


def test_lookbehind_with_its_own_optimizer_has_no_plain_step():
    inside = {"fast_optimizer": optax.sgd(0.1)}
    rule = ol.sam_perturbation(0.1)
    with pytest.raises(ValueError, match="fast_optimizer=None"):
        ol.lookbehind(rule, 2, 0.5, policy=ol.periodic_policy(2), **inside)
    tx, w = ol.lookbehind(rule, 2, 0.5, **inside), jnp.ones(2)
    with pytest.raises(ValueError, match="apply=False needs fast_optimizer=None"):
        tx.update(w, tx.init(w), w, grad_fn=lambda p, i: p, apply=False)


@pytest.mark.parametrize("key", ["a", 1.5, None, np.zeros(2, np.uint32)])
def test_key_must_be_a_seed_or_a_key(key):
    for make in (ol.ss_sam, ol.esam):
        with raises("key", key):
            make(0.1, key=key)
