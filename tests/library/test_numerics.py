"""Zero gradients, NaNs, rounding noise and low precision."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import jaxprs_in_params

import optax_lookbehind as ol
from tests.support.methods import each, takes_gradients
from tests.support.problems import batches, classification_loss, make_step, network


@each()
def test_a_zero_gradient_changes_nothing_and_makes_no_nan(method):
    tx, params = method.optimizer(), network()[0]
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, state = tx.update(zeros, tx.init(params), params, grad_fn=lambda p, i: zeros)
    assert not any(leaf.any() for leaf in jax.tree.leaves(updates))
    assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("where", ["updates", "grad_fn"])
@each()
def test_a_nan_gradient_is_not_hidden(method, where):
    if where == "grad_fn" and not takes_gradients(method):
        return
    tx, params = method.optimizer(), network()[0]
    ones = jax.tree.map(jnp.ones_like, params)
    nans = jax.tree.map(lambda x: x * jnp.nan, ones)
    first, later = (nans, ones) if where == "updates" else (ones, nans)
    # Weights that a NaN perturbation reached must show in what grad_fn returns.
    grad_fn = lambda p, i: jax.tree.map(lambda g: g + 0 * optax.tree.sum(p), later)
    sharp = {"apply": True} if method.has_policy and where == "grad_fn" else {}
    updates, _ = tx.update(first, tx.init(params), params, grad_fn=grad_fn, **sharp)
    assert all(np.isnan(leaf).any() for leaf in jax.tree.leaves(updates))


@each(lambda method: "alpha" in method.arguments or method.complete or method.alias == "usam")
def test_a_zero_perturbed_or_plain_gradient_makes_no_ascent_on_the_loss(method):
    zero, w = jnp.zeros(2), jnp.zeros(2)
    for plain, perturbed in ((jnp.array([3.0, -4.0]), zero), (zero, jnp.array([1.0, -2.0]))):
        tx = method.optimizer(optax.sgd(1.0))
        always = {"apply": True} if method.has_policy else {}
        updates, _ = tx.update(plain, tx.init(w), w, grad_fn=lambda p, i, g=perturbed: g, **always)
        assert np.isfinite(updates).all()
        assert updates @ (plain + perturbed) <= 0


@pytest.mark.parametrize("tree", [(), {}, {"a": {}}], ids=repr)
@each()
def test_a_tree_without_weights_passes_through(method, tree):
    """As a group of ``optax.partition`` without weights is, or a model that is frozen."""
    tx = method.optimizer()
    state = tx.init(tree)
    for _ in range(3):
        updates, state = tx.update(tree, state, tree, grad_fn=lambda params, i: params)
        assert jax.tree.structure(updates) == jax.tree.structure(tree)


def operations(jaxpr):
    """Name and result types of every operation, inner ones included."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name, [str(result.aval) for result in equation.outvars]
        for inner in jaxprs_in_params(equation.params):
            yield from operations(inner)


@each()
def test_bfloat16_weights_give_the_same_program_under_strict_promotion(method):
    params = network(dtype=jnp.bfloat16)[0]
    batch = jax.tree.map(lambda x: x[0], batches(number=1, dtype=jnp.bfloat16))
    # Adam itself, Optax's, fails under strict promotion.
    inside = {"fast_optimizer": optax.sgd(0.1)} if "fast_optimizer" in method.arguments else {}
    tx = method.optimizer(**inside)
    step, programs = make_step(tx, classification_loss), []
    for promotion in ("standard", "strict"):
        with jax.numpy_dtype_promotion(promotion):
            jaxpr = jax.make_jaxpr(step)(params, tx.init(params), batch)
            programs.append(list(operations(jaxpr.jaxpr)))
    assert programs[0] == programs[1]


def test_a_mistake_in_the_users_own_arithmetic_still_raises():
    params, tx = jnp.ones(2, jnp.bfloat16), ol.sam(0.1)
    grad_fn = lambda params, i: params * jnp.ones(2, jnp.float32)
    with jax.numpy_dtype_promotion("strict"), pytest.raises(ValueError, match="promotion"):
        tx.update(params, tx.init(params), params, grad_fn=grad_fn)


# What one step's rounding noise or NaN leaves for the steps after it.
W = jnp.array([1.0, -2.0, 3.0, 0.5])
A = jnp.array([1.0, 2.0, 0.5, 3.0])


def steps(tx, grad_fns, dtype=jnp.float32):
    """What is emitted with each gradient function, and the last state."""
    w = W.astype(dtype)
    state, emitted = tx.init(w), []
    for grad_fn in grad_fns:
        updates, state = tx.update(grad_fn(w, -1), state, w, grad_fn=grad_fn)
        emitted.append(updates)
    return emitted, state


def curved(p, i):
    return A.astype(p.dtype) * p


def parallel(p, i):
    """The sharp gradient is the plain one, but for its length and rounding."""
    return 0.3 * p


def nan_where_perturbed(p, i):
    """A finite plain gradient (i = -1), a NaN in the perturbed one."""
    return jnp.where(i < 0, curved(p, i), jnp.nan)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_direction_of_rounding_noise_is_not_reused(dtype):
    (_, plain), state = steps(ol.looksam(0.1, 0.5, period=2), [parallel, parallel], dtype)
    assert not optax.tree.get(state, "sharp_direction").any()
    np.testing.assert_array_equal(plain, parallel(W.astype(dtype), -1))


def test_a_large_model_has_no_direction_of_rounding_noise():
    w = jax.random.normal(jax.random.key(0), (1_000_000,))
    tx = ol.looksam(0.05, 0.5, period=2)
    _, state = tx.update(0.3 * w, tx.init(w), w, grad_fn=lambda p, i: 0.3 * p)
    assert not optax.tree.get(state, "sharp_direction").any()


def test_a_small_direction_is_kept():
    """An angle of a thousandth is no rounding noise in float32."""
    nearly = lambda p, i: 0.3 * p + 0.01 * jnp.where(i < 0, 0, A * p)
    (_, plain), _ = steps(ol.looksam(0.1, 0.5, period=2), [nearly, nearly])
    g = 0.3 * W
    difference = np.linalg.norm(plain - g) / np.linalg.norm(g)
    np.testing.assert_allclose(difference, 0.5, rtol=1e-3)


def test_a_nan_does_not_replace_the_kept_direction():
    tx = ol.looksam(0.1, 0.5, period=2)
    (_, expected), _ = steps(tx, [curved, curved])
    (*_, broken, plain), _ = steps(tx, [curved, curved, nan_where_perturbed, curved])
    assert jnp.isnan(broken).all()  # visible in the step itself
    np.testing.assert_array_equal(plain, expected)


@pytest.mark.parametrize("alpha", ["adaptive", "adaptive_per_tensor"])
def test_a_nan_does_not_spoil_the_alpha_of_plain_steps(alpha):
    tx = ol.lookbehind(ol.sam_perturbation(0.1), 2, alpha, policy=ol.periodic_policy(2))
    (_, expected), _ = steps(tx, [curved, curved])
    (*_, broken, plain), _ = steps(tx, [curved, curved, nan_where_perturbed, curved])
    assert jnp.isnan(broken).all()
    np.testing.assert_array_equal(plain, expected)


@pytest.mark.parametrize("make", [ol.friendly_sam, ol.vasso])
def test_a_nan_does_not_enter_a_filters_mean(make):
    broken = lambda p, i: curved(p, i) * jnp.nan
    (*_, after), state = steps(make(0.1), [curved, broken, curved])
    assert jnp.isfinite(after).all()
    np.testing.assert_allclose(optax.tree.get(state, "mean"), curved(W, 0), rtol=1e-6)


@pytest.mark.parametrize("size", [1e-25, 1e25, np.inf, np.nan])
def test_norms_beyond_float32_leave_an_adaptive_policy_as_documented(size):
    tx = ol.ae_sam(0.1, total_steps=10)
    of_size = lambda p, i: size * p
    (plain,), state = steps(tx, [of_size])
    np.testing.assert_array_equal(plain, of_size(W, 0))
    assert optax.tree.get(state, "applied") == 0
    statistics = optax.tree.get(state, "decision_state")
    if size == 1e-25:  # as a zero gradient
        _, zero = steps(tx, [lambda p, i: 0 * p])
        assert statistics == optax.tree.get(zero, "decision_state")
    else:
        assert statistics == optax.tree.get(tx.init(W), "decision_state")
