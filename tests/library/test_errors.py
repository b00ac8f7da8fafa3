"""Every bad argument raises an error that names the argument and its value."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.errors import raises

POSITIVE_INTEGERS = {
    "k": [lambda k: ol.multistep_sam(k, 0.1), lambda k: ol.lookbehind_sam(k, 0.1, 0.5)],
    "total_steps": [lambda t: ol.ae_sam(0.1, t), lambda t: ol.ae_lookbehind_sam(2, 0.1, 0.5, t)],
    "period": [lambda period: ol.looksam(0.1, 0.5, period)],
}


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True, None])
@pytest.mark.parametrize("name", POSITIVE_INTEGERS)
def test_counts_must_be_positive_integers(name, value):
    for make in POSITIVE_INTEGERS[name]:
        with raises(name, value):
            make(value)


def test_k_may_be_a_numpy_integer():
    ol.lookbehind_sam(np.int64(3), 0.1, 0.5)


def test_k_under_inject_hyperparams_raises_with_the_static_argument_to_pass():
    tx = optax.inject_hyperparams(ol.multistep_sam)(k=2, rho=0.1)
    with pytest.raises(ValueError, match=r'^k .*static_args=\("k",\)'):
        tx.init(jnp.ones(2))


@pytest.mark.parametrize("rho", [0, 0.0, -0.1, np.inf, np.nan, "0.1", None, np.float32(-1)])
def test_rho_must_be_positive_and_finite(rho):
    with raises("rho", rho):
        ol.sam_perturbation(rho)


@pytest.mark.parametrize(
    "make",
    [
        ol.asam_perturbation,
        ol.sam,
        ol.asam,
        lambda rho: ol.multistep_sam(2, rho),
        lambda rho: ol.multistep_asam(2, rho),
        lambda rho: ol.lookbehind_sam(2, rho, 0.5),
        lambda rho: ol.lookbehind_asam(2, rho, 0.5),
    ],
)
def test_every_method_checks_rho(make):
    with raises("rho", -0.1):
        make(-0.1)


@pytest.mark.parametrize(
    ("name", "value", "make"),
    [
        *(("eta", eta, lambda eta: ol.asam(0.5, eta)) for eta in (-0.1, np.inf, "x")),
        *(("decay", d, lambda d: ol.ae_sam(0.1, 10, decay=d)) for d in (-0.1, 1.0, np.nan)),
        *(("probability", p, lambda p: ol.ss_sam(0.1, p)) for p in (-0.1, 1.1, np.nan)),
        *(("beta", beta, lambda beta: ol.esam(0.1, beta)) for beta in (0, 1.5)),
        *(("alpha", a, lambda a: ol.looksam(0.1, a)) for a in (-1.0, np.inf, "adaptive")),
        *(("alpha", a, ol.reuse_direction) for a in (-0.1, np.inf)),
        *(("fraction", f, lambda f: ol.late_sam(0.1, 10, f)) for f in (-0.1, 1.1, np.nan)),
        *(("alpha", a, lambda a: ol.lookbehind_sam(2, 0.1, a)) for a in (0, -0.5, 1.01, None)),
        ("alpha", "adaptve", lambda a: ol.lookbehind_sam(2, 0.1, a)),
        ("lambda_1", np.nan, lambda x: ol.ae_sam(0.1, 10, x, 1.0)),
        ("lambda_2", "x", lambda x: ol.ae_sam(0.1, 10, 1.0, x)),
        ("lambda_1", -np.inf, lambda x: ol.ae_sam(0.1, 10, x, 1.0)),
        ("gamma", 0, lambda g: ol.sharpest_examples_grad_fn(lambda w: w, jnp.ones(2), g)),
        ("weight", np.nan, lambda x: ol.combination(lambda *gradients: 0, weight=x)),
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


METHODS = [ol.sam(0.1), ol.lookbehind_sam(2, 0.1, 0.5)]


@pytest.mark.parametrize("tx", METHODS)
def test_a_missing_grad_fn_or_params_raises_with_the_call_to_write(tx):
    w = jnp.ones(2)
    call = r"tx\.update\(grads, state, params, grad_fn=grad_fn\)"
    with pytest.raises(ValueError, match=rf"(?s)^grad_fn .*{call}"):
        tx.update(w, tx.init(w), w)
    with pytest.raises(ValueError, match=rf"(?s)^params .*{call}"):
        tx.update(w, tx.init(w), grad_fn=lambda p, i: p)


@pytest.mark.parametrize("tx", METHODS)
def test_gradients_unlike_the_params_raise_with_the_leaf(tx):
    params = {"layer": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}}
    state = tx.init(params)
    other_shape = {"layer": {"w": jnp.ones((3, 2)), "b": jnp.ones(3)}}
    with pytest.raises(ValueError, match=r"^updates .*\['layer'\]\['w'\].*\(2, 3\).*\(3, 2\)"):
        tx.update(other_shape, state, params, grad_fn=lambda p, i: p)
    with pytest.raises(ValueError, match=r"grad_fn .*\['layer'\]\['b'\]"):
        tx.update(params, state, params, grad_fn=lambda p, i: {"layer": {"w": p["layer"]["w"]}})
    with pytest.raises(ValueError, match=r"grad_fn .*\['more'\]"):
        tx.update(params, state, params, grad_fn=lambda p, i: p | {"more": jnp.ones(1)})


def test_gradients_in_other_containers_raise():
    tx = ol.sam(0.1)
    params = (jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match=r"^updates .*\(\*, \*\).*\[\*, \*\]"):
        tx.update(list(params), tx.init(params), params, grad_fn=lambda p, i: p)


def test_traced_scalars_are_not_checked():
    assert jax.jit(lambda rho: ol.sam(rho).init(jnp.ones(2)) is not None)(0.1)


def test_sharpest_examples_need_one_loss_per_example():
    with pytest.raises(ValueError, match=r"^per_example_loss_fn .*\(\)"):
        ol.sharpest_examples_grad_fn(jnp.sum, jnp.ones(2))


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


def test_an_unsynced_perturbation_needs_an_axis():
    for make in (lambda **o: ol.sam(0.1, **o), lambda **o: ol.lookbehind_sam(2, 0.1, 0.5, **o)):
        with pytest.raises(ValueError, match=r"^sync_perturbation=False .*axis_name=None"):
            make(sync_perturbation=False)


@pytest.mark.parametrize("mask", [{"w": True}, {"a": "no"}, lambda params: 1.0])
def test_a_wrong_mask_raises(mask):
    tx = ol.asam(0.1, mask=mask)
    params = {"a": jnp.ones(2)}
    with pytest.raises(ValueError, match=r"^mask "):
        tx.update(params, tx.init(params), params, grad_fn=lambda p, i: p)


def test_a_scheduled_alpha_must_be_a_scalar():
    with raises("alpha", (3,)):
        ol.lookbehind_sam(2, 0.1, lambda t: jnp.ones(3)).init(jnp.ones(3))


def test_a_combination_of_another_type_raises():
    for combine in (0.5, optax.identity(), lambda clean, perturbed: perturbed):
        with pytest.raises(ValueError, match=r"^combine must be a Combination.*combination\(fn\)"):
            ol.multistep(ol.sam_perturbation(0.1), combine=combine)


@pytest.mark.parametrize("key", ["a", 1.5, None, np.zeros(2, np.uint32)])
def test_key_must_be_a_seed_or_a_key(key):
    for make in (ol.ss_sam, ol.esam):
        with raises("key", key):
            make(0.1, key=key)
