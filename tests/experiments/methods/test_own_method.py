"""Methods of a user's own by import path, and the setting that a run prints."""

import sys
import types

import jax.numpy as jnp
import optax
import pytest

import optax_lookbehind as ol
from experiments.methods.method import Method
from experiments.methods.optimizers import read_optimizer
from experiments.methods.table import METHODS, method


@pytest.fixture
def mine(monkeypatch):
    module = types.ModuleType("mine")

    def late(total_steps, rho=0.1, k=2, mask=None, axis_name=None):
        policy = ol.late_policy(total_steps, 0.5)
        rule = ol.sam_perturbation(rho)
        return ol.multistep(rule, k, policy=policy, axis_name=axis_name)

    module.late = late
    module.row = METHODS["sam"]
    module.number = 3
    module.no_default = lambda rho: ol.sam(rho)
    monkeypatch.setitem(sys.modules, "mine", module)
    return module


def emitted(bound, config, **options):
    """The update at weights 1 on a quartic."""
    tx = optax.with_extra_args_support(bound.build(read_optimizer(config), 2, **options))
    w = jnp.ones(2)
    grad_fn = lambda w, i: w**3
    first, state = tx.update(grad_fn(w, 0), tx.init(w), w, grad_fn=grad_fn)
    second, _ = tx.update(grad_fn(w, 0), state, w, grad_fn=grad_fn)
    return first, second


def test_a_function_stands_in_front_of_the_optimizer_with_arguments_from_string_and_run(
    mine, config
):
    config.update(learning_rate=1.0, momentum=0.0, weight_decay=0.0)
    bound = method("mine:late:rho=0.2")
    assert str(bound) == "mine:late:rho=0.2"
    assert (bound.label("sgd"), bound.ascent_steps) == ("late (rho=0.2)", 2)
    plain, sharp = emitted(bound, config)  # the policy has the run's two steps
    assert (plain == -1).all()
    point = 1 + 2 * 0.2 / jnp.sqrt(2)
    rate = read_optimizer(config).learning_rate(2)(1)
    assert jnp.allclose(sharp, -rate * point**3, rtol=1e-5)


def test_a_row_of_ones_own_has_its_arguments(mine):
    assert method("mine:row:rho=0.3").arguments == {"rho": 0.3}
    assert isinstance(method("mine:row").row, Method)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine:late:sigma=1", r"mine:late has no argument sigma.*mine:late:rho=0.1,k=2"),
        ("mine:late:rho=-1", r"rho must be .* > 0, got -1.0"),
        ("mine:nothing", r"method 'mine:nothing' is not a module:function"),
        ("nowhere:sam", r"No module named 'nowhere'"),
        ("mine:number", r"must be a function or a Method, got 3"),
        ("mine:no_default", r"its argument rho needs a default"),
        ("sam:rho", r"form name or name:key=value"),
        ("smam", r"did you mean 'sam'.*module:function"),
    ],
)
def test_a_mistake_is_named(mine, text, message):
    with pytest.raises(ValueError, match=message):
        method(text)


@pytest.mark.parametrize(
    ("text", "optimizer", "shown"),
    [
        ("sam", "sgd", "sam:rho=0.05, sgd at rate 0.03"),
        ("lookbehind_sam:k=5,alpha=0.5", "sgd", "about 2.5 times as long"),
        ("ae_lookbehind_sam:k=3,alpha=adaptive", "sgd", "about 3 times as long"),
        ("lookbehind_sam:fast_optimizer=false", "adam", "fast_optimizer=false"),
    ],
)
def test_the_setting_of_a_run_says_how_long_its_steps_are(text, optimizer, shown):
    setting = method(text).setting(optimizer, 0.03)
    assert shown in setting
    assert "0.03" in setting
    assert ("times as long" in setting) == ("times as long" in shown)
