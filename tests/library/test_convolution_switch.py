"""The rewrite of CPU convolutions can be switched off, and is skipped on an unsupported JAX."""

import warnings

import jax
import jax.numpy as jnp
import pytest
from jax.extend import core
from jax.extend.core import primitives

from optax_lookbehind._core import cpu_convolutions
from tests.support.convolutions import (
    assert_same,
    conv,
    convolutions,
    in_loop,
    lower,
    normal,
    problem,
)


@pytest.fixture
def example():
    return problem(normal(2, 3, 6, 5), normal(4, 3, 3, 3), layout=("NCHW", "OIHW", "NCHW"))


def forms(grad_fn, params):
    return convolutions(lower(grad_fn, params).as_text())


@pytest.mark.parametrize(("value", "rewritten"), [("0", False), ("1", True), (None, True)])
def test_the_environment_variable_switches_the_rewrite(monkeypatch, example, value, rewritten):
    grad_fn, params = example
    monkeypatch.delenv(cpu_convolutions._SWITCH, raising=False)
    if value is not None:
        monkeypatch.setenv(cpu_convolutions._SWITCH, value)
    as_written = forms(grad_fn, params)
    assert (forms(in_loop(grad_fn), params) != as_written) == rewritten


def test_another_value_of_the_variable_raises(monkeypatch, example):
    grad_fn, params = example
    monkeypatch.setenv(cpu_convolutions._SWITCH, "off")
    with pytest.raises(ValueError, match=f"{cpu_convolutions._SWITCH}.*'off'"):
        in_loop(grad_fn)(params, 0)


def remove_the_modules(monkeypatch):
    monkeypatch.setattr(cpu_convolutions, "core", None)
    monkeypatch.setattr(cpu_convolutions, "primitives", None)


def remove_a_primitive(monkeypatch):
    monkeypatch.delattr(primitives, "conv_general_dilated_p")


def remove_a_function(monkeypatch):
    monkeypatch.delattr(core, "jaxpr_as_fun")


@pytest.mark.parametrize("break_jax", [remove_the_modules, remove_a_primitive, remove_a_function])
def test_an_unknown_jax_gives_one_warning_and_the_plain_gradient(monkeypatch, example, break_jax):
    grad_fn, params = example
    as_written, expected = forms(grad_fn, params), grad_fn(params, 0)
    cpu_convolutions._warn_once.cache_clear()
    break_jax(monkeypatch)
    with pytest.warns(RuntimeWarning, match=f"JAX {jax.__version__}.*{cpu_convolutions._SWITCH}=0"):
        assert forms(in_loop(grad_fn), params) == as_written
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(in_loop(grad_fn)(params, 0), expected)


def test_an_error_in_the_gradient_function_is_raised():
    def grad_fn(params, i):
        raise AttributeError("a mistake of the user")

    with pytest.raises(AttributeError, match="a mistake of the user"):
        in_loop(grad_fn)(jnp.ones(3), 0)


def test_a_function_called_from_many_places_is_rewritten_once():
    x, w = normal(2, 6, 3), normal(3, 3, 3, seed=1)

    def layers(x, w):
        return conv(x, w, layout=("NWC", "OIW", "NWC"))

    def twice(layers):
        layers = jax.jit(layers)
        return lambda x, w: layers(layers(x, w), w)

    for _ in range(12):  # 2 ** 12 calls
        layers = twice(layers)

    jaxpr = jax.make_jaxpr(lambda w: in_loop(lambda w, i: layers(x, w))(w, 0))(w)
    seen = set()

    def visit(jaxpr):
        if jaxpr not in seen:
            seen.add(jaxpr)
            for eqn in jaxpr.eqns:
                for inner in core.jaxprs_in_params(eqn.params):
                    visit(inner)

    visit(jaxpr.jaxpr)
    assert len(seen) < 40
