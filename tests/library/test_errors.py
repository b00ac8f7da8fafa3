"""Calls of ``update`` with gradients that do not fit, and methods, rules and masks misplaced."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol

PARAMS = {"a": jnp.ones(2), "b": jnp.ones(3)}
MASK = {"a": True, "b": False}
METHODS = [ol.sam(0.1), ol.lookbehind_sam(2, 0.1, 0.5), ol.ae_sam(0.1, 10)]


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


WRONG = {
    "nothing": (lambda p, i: None, r"^the result of grad_fn .*nothing"),
    "a pair": (lambda p, i: (p, p), r"^the result of grad_fn must .*ValueAndGrads"),
    "integers": (lambda p, i: p.astype(int), r"^the result of grad_fn .*int32"),
    "bools": (lambda p, i: p > 0, r"^the result of grad_fn .*bool"),
    "complex numbers": (lambda p, i: p * 1j, r"^the result of grad_fn .*complex64"),
}


@pytest.mark.parametrize("tx", METHODS)
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_grad_fn_raises(tx, name):
    grad_fn, message = WRONG[name]
    w = jnp.ones(2)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        tx.update(w, tx.init(w), w, grad_fn=grad_fn)
    problems = ol.check_grad_fn(grad_fn, w, w)
    assert len(problems) == 1


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


WRAPPERS = {
    "multistep": lambda rule: ol.multistep(rule),
    "lookbehind": lambda rule: ol.lookbehind(rule, 2, 0.5),
    "stochastic": lambda rule: ol.multistep(ol.stochastic_perturbation(rule)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("method", METHODS)
def test_a_whole_method_is_no_perturbation(wrap, method):
    tx = wrap(method)
    with pytest.raises(ValueError, match=r"(?s)^grad_fn is missing.*sam_perturbation\(rho\)"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, grad_fn=lambda p, i: p)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_masked_rule_raises_with_masked_perturbation(wrap):
    with pytest.raises(ValueError, match=r"^perturbation .*masked_perturbation\("):
        wrap(optax.masked(ol.sam_perturbation(0.1), MASK)).init(PARAMS)


@pytest.mark.parametrize("method", METHODS)
def test_a_mask_around_a_method_raises_with_the_leaf(method):
    labels = {"a": "train", "b": "freeze"}
    groups = {"train": method, "freeze": optax.set_to_zero()}
    wrapped = {
        "optax.masked": optax.masked(method, MASK),
        "optax.partition": optax.partition(groups, labels),
        "optax.selective_transform": optax.selective_transform(
            method, freeze_mask={"a": False, "b": True}
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
