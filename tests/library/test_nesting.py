"""A wrong nesting of rules, methods, masks and policies raises an error with the right form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.errors import raises

PARAMS = {"a": jnp.ones(2), "b": jnp.ones(3)}
MASK = {"a": True, "b": False}
METHODS = {
    "sam": lambda: ol.sam(0.1),
    "lookbehind": lambda: ol.lookbehind_sam(2, 0.1, 0.5),
    "inside": lambda: ol.lookbehind_sam(2, 0.1, 0.5, fast_optimizer=optax.sgd(0.1)),
    "policy": lambda: ol.ae_sam(0.1, 10),
    "chain": lambda: optax.chain(ol.sam(0.1), optax.sgd(0.1)),
}
WRAPPERS = {
    "multistep": lambda rule: ol.multistep(rule),
    "lookbehind": lambda rule: ol.lookbehind(rule, 2, 0.5),
    "stochastic": lambda rule: ol.multistep(ol.stochastic_perturbation(rule)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_whole_method_is_no_perturbation(wrap, method):
    tx = wrap(method())
    with pytest.raises(ValueError, match=r"(?s)^grad_fn is missing.*sam_perturbation\(rho\)"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, grad_fn=lambda p, i: p)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_masked_rule_raises_with_masked_perturbation(wrap):
    with pytest.raises(ValueError, match=r"^perturbation .*masked_perturbation\("):
        wrap(optax.masked(ol.sam_perturbation(0.1), MASK)).init(PARAMS)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_mask_around_a_method_raises_with_the_leaf(method):
    labels = {"a": "train", "b": "freeze"}
    groups = {"train": method(), "freeze": optax.set_to_zero()}
    wrapped = {
        "optax.masked": optax.masked(method(), MASK),
        "optax.partition": optax.partition(groups, labels),
        "optax.selective_transform": optax.selective_transform(
            method(), freeze_mask={"a": False, "b": True}
        ),
    }
    for wrapper, tx in wrapped.items():
        with pytest.raises(ValueError, match=r"^params .*\['b'\].*masked_perturbation\(") as error:
            tx.init(PARAMS)
        assert wrapper in str(error.value)


@pytest.mark.parametrize(
    "rule",
    [
        lambda: ol.masked_perturbation(ol.stochastic_perturbation(ol.sam_perturbation(0.1)), MASK),
        lambda: ol.stochastic_perturbation(ol.masked_perturbation(ol.sam_perturbation(0.1), MASK)),
        lambda: optax.chain(optax.masked(optax.clip(1.0), MASK), ol.sam_perturbation(0.1)),
        lambda: optax.partition(
            {"a": ol.sam_perturbation(0.1), "b": ol.asam_perturbation(0.1)}, {"a": "a", "b": "b"}
        ),
    ],
)
def test_masks_within_and_around_rules_that_are_right_pass(rule):
    tx = ol.multistep(rule())
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, grad_fn=lambda p, i: p)
    assert jax.tree.structure(updates) == jax.tree.structure(PARAMS)


def test_only_groups_behind_the_method_get_their_own_optimizer():
    groups = optax.partition({"a": optax.sgd(0.1), "b": optax.set_to_zero()}, {"a": "a", "b": "b"})
    tx = optax.chain(ol.sam(0.1), groups)
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, grad_fn=lambda p, i: p)
    assert not np.any(updates["b"])
    assert np.all(updates["a"] != 0)


@pytest.mark.parametrize("dtype", [jnp.int32, bool, jnp.complex64])
@pytest.mark.parametrize("tx", [ol.sam(0.1), ol.lookbehind_sam(2, 0.1, 0.5)])
def test_gradients_of_a_wrong_dtype_raise_with_the_leaf(tx, dtype):
    state, wrong = tx.init(PARAMS), PARAMS | {"b": jnp.ones(3, dtype)}
    shown = rf"\['b'\].*{jnp.dtype(dtype).name}"
    with pytest.raises(ValueError, match=f"^updates .*{shown}"):
        tx.update(wrong, state, PARAMS, grad_fn=lambda p, i: p)
    with pytest.raises(ValueError, match=f"^the result of grad_fn .*{shown}"):
        tx.update(PARAMS, state, PARAMS, grad_fn=lambda p, i: wrong)


def test_the_gradient_of_an_integer_leaf_raises_with_the_leaf():
    params = {"w": jnp.ones(2), "count": jnp.ones(2, jnp.int32)}
    grad_fn = lambda p, i: jax.grad(lambda p: jnp.sum(p["w"] ** 2), allow_int=True)(p)
    tx = ol.sam(0.1)
    with pytest.raises(ValueError, match=r"^updates .*\['count'\].*float0.*int32"):
        tx.update(grad_fn(params, 0), tx.init(params), params, grad_fn=grad_fn)


@pytest.mark.parametrize("result", [lambda p: (jnp.ones(()), p), lambda p: (p, {"accuracy": 1.0})])
def test_a_tuple_in_place_of_the_gradient_raises_with_value_and_grads(result):
    tx = ol.sam(0.1)
    with pytest.raises(ValueError, match=r"^the result of grad_fn .*ValueAndGrads\("):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, grad_fn=lambda p, i: result(p))


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
    tx = ol.lookbehind(rule, 2, 0.5, **inside)
    with pytest.raises(ValueError, match="apply=False needs fast_optimizer=None"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, grad_fn=lambda p, i: p, apply=False)
