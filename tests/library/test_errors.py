"""Every mistake gets an error that names the argument, its value and what would be right."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol


@pytest.mark.parametrize("k", [0, -1, 2.0, "3", True, None])
@pytest.mark.parametrize(
    "make", [lambda k: ol.multistep_sam(k, 0.1), lambda k: ol.lookbehind_sam(k, 0.1, 0.5)]
)
def test_k_must_be_a_positive_integer(make, k):
    with pytest.raises(ValueError, match=rf"k must be an integer >= 1, got {k!r}"):
        make(k)


@pytest.mark.parametrize("k", [np.int64(3), 3])
def test_k_may_be_any_integer_type(k):
    ol.lookbehind_sam(k, 0.1, 0.5)


def test_k_under_inject_hyperparams_says_how_to_keep_it_static():
    tx = optax.inject_hyperparams(ol.multistep_sam)(k=2, rho=0.1)
    with pytest.raises(ValueError, match=r'k must be a Python int.*static_args=\("k",\)'):
        tx.init(jnp.ones(2))


@pytest.mark.parametrize("rho", [0, 0.0, -0.1, np.inf, np.nan, "0.1", None, np.float32(-1)])
@pytest.mark.parametrize(
    "make",
    [
        ol.sam_perturbation,
        ol.asam_perturbation,
        ol.sam,
        ol.asam,
        lambda rho: ol.multistep_sam(2, rho),
        lambda rho: ol.multistep_asam(2, rho),
        lambda rho: ol.lookbehind_sam(2, rho, 0.5),
        lambda rho: ol.lookbehind_asam(2, rho, 0.5),
    ],
)
def test_rho_must_be_positive_and_finite(make, rho):
    with pytest.raises(ValueError, match=r"rho must be a finite number > 0, got ") as error:
        make(rho)
    assert repr(rho) in str(error.value)


@pytest.mark.parametrize("eta", [-0.1, np.inf, "x"])
def test_eta_must_not_be_negative(eta):
    with pytest.raises(ValueError, match=rf"eta must be a finite number >= 0, got {eta!r}"):
        ol.asam(0.5, eta)


@pytest.mark.parametrize("alpha", [0, -0.5, 1.01, np.nan, None])
def test_alpha_must_be_in_the_half_open_unit_interval(alpha):
    with pytest.raises(ValueError, match=rf"alpha must be a number in \(0, 1\], got {alpha!r}"):
        ol.lookbehind_sam(2, 0.1, alpha)


def test_an_unknown_word_for_alpha_lists_the_known_ones():
    with pytest.raises(ValueError, match='"adaptive" or "adaptive_per_tensor", got \'adaptve\''):
        ol.lookbehind_sam(2, 0.1, "adaptve")


@pytest.mark.parametrize("name", ["switch_minibatch", "sync_perturbation"])
def test_flags_must_be_bools(name):
    with pytest.raises(ValueError, match=rf"{name} must be True or False, got 'yes'"):
        ol.lookbehind_sam(2, 0.1, 0.5, **{name: "yes"})


METHODS = [ol.sam(0.1), ol.lookbehind_sam(2, 0.1, 0.5)]


@pytest.mark.parametrize("tx", METHODS)
def test_a_missing_grad_fn_or_params_shows_the_call_to_write(tx):
    w = jnp.ones(2)
    call = r"tx\.update\(grads, state, params, grad_fn=grad_fn\)"
    with pytest.raises(ValueError, match=rf"(?s)grad_fn is missing.*{call}"):
        tx.update(w, tx.init(w), w)
    with pytest.raises(ValueError, match=rf"(?s)params is missing.*{call}"):
        tx.update(w, tx.init(w), grad_fn=lambda p, i: p)


@pytest.mark.parametrize("tx", METHODS)
def test_gradients_unlike_the_params_are_located(tx):
    params = {"layer": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}}
    state = tx.init(params)
    other_shape = {"layer": {"w": jnp.ones((3, 2)), "b": jnp.ones(3)}}
    with pytest.raises(
        ValueError,
        match=r"updates must have .* at \['layer'\]\['w'\] params have an array of shape \(2, 3\) "
        r"and updates has an array of shape \(3, 2\)",
    ):
        tx.update(other_shape, state, params, grad_fn=lambda p, i: p)
    with pytest.raises(
        ValueError, match=r"the result of grad_fn .* at \['layer'\]\['b'\] .* has nothing"
    ):
        tx.update(params, state, params, grad_fn=lambda p, i: {"layer": {"w": p["layer"]["w"]}})
    with pytest.raises(ValueError, match=r"the result of grad_fn .* params have nothing and"):
        tx.update(params, state, params, grad_fn=lambda p, i: p | {"more": jnp.ones(1)})


def test_traced_scalars_are_not_checked():
    assert jax.jit(lambda rho: ol.sam(rho).init(jnp.ones(2)) is not None)(0.1)


@pytest.mark.parametrize("total_steps", [0, -3, 1.5, "10"])
def test_total_steps_must_be_a_positive_integer(total_steps):
    message = rf"total_steps must be an integer >= 1, got {total_steps!r}"
    for make in (ol.ae_sam, lambda rho, t: ol.ae_lookbehind_sam(2, rho, 0.5, t)):
        with pytest.raises(ValueError, match=message):
            make(0.1, total_steps)


@pytest.mark.parametrize("decay", [-0.1, 1.0, np.nan])
def test_decay_must_be_below_one(decay):
    with pytest.raises(ValueError, match=rf"decay must be a number in \[0, 1\), got {decay!r}"):
        ol.adaptive_policy(ol.sam(0.1), 10, decay=decay)


@pytest.mark.parametrize(("lambda_1", "lambda_2"), [(np.nan, 1.0), (1.0, "x"), (-np.inf, 1.0)])
def test_lambdas_must_be_numbers(lambda_1, lambda_2):
    with pytest.raises(
        ValueError,
        match=r"lambda_[12] must be a finite number, or both lambdas the same infinity, got ",
    ):
        ol.ae_sam(0.1, 10, lambda_1, lambda_2)


@pytest.mark.parametrize("period", [0, -1, 2.5])
def test_period_must_be_a_positive_integer(period):
    with pytest.raises(ValueError, match=rf"period must be an integer >= 1, got {period!r}"):
        ol.looksam(0.1, 0.5, period)


@pytest.mark.parametrize("probability", [-0.1, 1.1, np.nan])
def test_probability_must_be_one(probability):
    with pytest.raises(
        ValueError, match=rf"probability must be a number in \[0, 1\], got {probability!r}"
    ):
        ol.ss_sam(0.1, probability)


@pytest.mark.parametrize("reuse", [-0.1, np.inf])
def test_reuse_must_not_be_negative(reuse):
    with pytest.raises(ValueError, match=rf"reuse must be a finite number >= 0, got {reuse!r}"):
        ol.periodic_policy(ol.sam(0.1), 2, reuse=reuse)


@pytest.mark.parametrize("beta", [0, 1.5])
def test_beta_must_be_a_share(beta):
    with pytest.raises(ValueError, match=rf"beta must be a number in \(0, 1\], got {beta!r}"):
        ol.esam(0.1, beta)


def test_sharpest_examples_says_what_it_needs():
    with pytest.raises(ValueError, match=r"gamma must be a number in \(0, 1\], got 0"):
        ol.sharpest_examples_grad_fn(lambda w: w, jnp.ones(2), gamma=0)
    with pytest.raises(ValueError, match=r"one loss per example, .* got shape \(\)"):
        ol.sharpest_examples_grad_fn(jnp.sum, jnp.ones(2))


@pytest.mark.parametrize(
    "policy",
    [
        lambda inner: ol.adaptive_policy(inner, 10),
        lambda inner: ol.periodic_policy(inner, 2),
        ol.random_policy,
    ],
)
def test_a_policy_refuses_a_lookbehind_that_emits_updates(policy):
    inner = ol.lookbehind_sam(2, 0.1, 0.5, fast_optimizer=optax.scale(-0.1))
    for wrapped in (inner, optax.chain(inner, optax.clip(1.0))):
        with pytest.raises(ValueError, match="Put the optimizer behind the policy"):
            policy(wrapped).init(jnp.ones(2))


def test_the_argument_is_named_as_the_user_wrote_it():
    with pytest.raises(ValueError, match="alpha must be a finite number >= 0, got -1"):
        ol.looksam(0.1, alpha=-1.0)
    with pytest.raises(ValueError, match="alpha must be a finite number >= 0, got 'adaptive'"):
        ol.ae_looksam(0.1, "adaptive", 10)


@pytest.mark.parametrize(
    "make",
    [
        lambda schedule: ol.asam(0.1, eta=schedule),
        lambda schedule: ol.esam(0.1, beta=schedule),
        lambda schedule: ol.ss_sam(0.1, probability=schedule),
        lambda schedule: ol.ae_sam(0.1, 10, decay=schedule),
    ],
)
def test_a_schedule_where_none_is_supported_points_to_inject_hyperparams(make):
    with pytest.raises(ValueError, match=r"cannot be a schedule itself; .*\binject_hyperparams"):
        make(optax.constant_schedule(0.5))


def test_an_unsynced_perturbation_needs_an_axis():
    for make in (lambda **o: ol.sam(0.1, **o), lambda **o: ol.lookbehind_sam(2, 0.1, 0.5, **o)):
        with pytest.raises(ValueError, match=r"needs axis_name.* got axis_name=None"):
            make(sync_perturbation=False)


@pytest.mark.parametrize("mask", [{"w": True}, {"a": "no"}, lambda params: 1.0])
def test_a_wrong_mask_is_named(mask):
    tx = ol.asam(0.1, mask=mask)
    params = {"a": jnp.ones(2)}
    with pytest.raises(ValueError, match="mask must be a pytree of bools"):
        tx.update(params, tx.init(params), params, grad_fn=lambda p, i: p)


def test_alpha_must_be_a_scalar():
    with pytest.raises(ValueError, match=r"alpha must be a scalar, got shape \(3,\)"):
        ol.lookbehind_sam(2, 0.1, lambda t: jnp.ones(3)).init(jnp.ones(3))


def test_other_containers_are_refused():
    tx = ol.sam(0.1)
    params = (jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="updates must be built of the same containers"):
        tx.update(list(params), tx.init(params), params, grad_fn=lambda p, i: p)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("perturbation", lambda: ol.multistep(0.05)),
        ("perturbation", lambda: ol.lookbehind(0.05, 2, 0.5)),
        ("perturbation", lambda: ol.stochastic_perturbation(0.05)),
        ("fast_optimizer", lambda: ol.lookbehind_sam(2, 0.1, 0.5, fast_optimizer=0.05)),
        ("inner", lambda: ol.adaptive_policy(0.05, 10)),
    ],
)
def test_a_number_where_a_transformation_belongs_is_named(name, make):
    with pytest.raises(
        ValueError, match=rf"{name} must be an optax.GradientTransformation, got 0.05"
    ):
        make()


@pytest.mark.parametrize("key", ["a", 1.5, None, np.zeros(2, np.uint32)])
def test_key_must_be_a_seed_or_a_key(key):
    for make in (ol.ss_sam, ol.esam):
        with pytest.raises(ValueError, match=r"key must be an integer seed or a jax\.random\.key"):
            make(0.1, key=key)
