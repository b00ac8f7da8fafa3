"""The guide's program, run as it stands."""

import pathlib
import re

import jax
import numpy as np
import optax
import pytest

from tests.support.problems import batches, make_step, network

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "writing-a-method.md"
SECTIONS = re.findall(r"^## (.*?)\n.*?```python\n(.*?)```", GUIDE.read_text(), re.S | re.M)


@pytest.fixture(scope="module")
def scope():
    names = {}
    for _, code in SECTIONS[:-1]:
        exec(compile(code, GUIDE, "exec"), names)
    return names


@pytest.mark.parametrize("code", [code for _, code in SECTIONS], ids=[name for name, _ in SECTIONS])
def test_every_part_of_a_method_takes_less_than_60_lines(code):
    assert len(code.splitlines()) < 60


def train(tx, steps=30):
    params, loss_fn = network()
    batch = jax.tree.map(lambda x: x[0], batches())
    step, state = jax.jit(make_step(tx, loss_fn)), tx.init(params)
    for _ in range(steps):
        params, state, loss = step(params, state, batch)
    return float(loss_fn(network()[0], batch)), float(loss), state


def transformations(scope):
    ol = scope["ol"]
    rule = scope["budget_perturbation"](0.1, 0.5)
    return {
        "rule": ol.multistep(rule, k=2),
        "rule in lookbehind": ol.lookbehind(rule, 2, "adaptive"),
        "combination": ol.multistep(rule, combine=scope["combine"]),
        "policy": scope["inner"],
        "two policies": ol.multistep(rule, policy=scope["policy"]),
    }


@pytest.mark.parametrize(
    "name", ["rule", "rule in lookbehind", "combination", "policy", "two policies"]
)
def test_the_methods_of_the_guide_train(name, scope):
    first, last, state = train(optax.chain(transformations(scope)[name], optax.sgd(0.1)))
    assert last < 0.9 * first
    applied = optax.tree.get(state, "applied")
    assert applied is None or 0 < applied < 30


def test_the_rule_spends_its_budget(scope):
    grads = np.array([3.0, 4.0])
    rule = scope["budget_perturbation"](0.1, 0.5)
    e, _ = rule.update(grads, rule.init(grads))
    np.testing.assert_allclose(grads @ e, 0.1, rtol=1e-6)
    zero, _ = rule.update(0 * grads, rule.init(grads))
    np.testing.assert_array_equal(zero, [0, 0])


def test_the_combination_is_the_librarys_gsam(scope):
    g, g_s = np.array([1.0, 2.0]), np.array([2.0, -1.0])
    combine = scope["ol"].surrogate_gap(0.4)
    expected, _ = combine.combine(combine.init(g), g, g_s)
    np.testing.assert_allclose(scope["surrogate_gap"](g, g_s, 0.4), expected, rtol=1e-6)


def test_a_row_of_the_table_registers_a_method_for_experiments(scope, monkeypatch):
    from experiments.configs import digits
    from experiments.methods import table
    from experiments.methods.optimizers import read_optimizer

    monkeypatch.setattr(table, "METHODS", dict(table.METHODS))
    exec(compile(SECTIONS[-1][1], GUIDE, "exec"), scope)
    method = table.method("rising_sam:rho=0.1")
    tx = method.build(read_optimizer(digits.get_config()), 30)
    first, last, state = train(tx)
    assert last < first
    assert 0 < optax.tree.get(state, "applied") < 30
    with pytest.raises(ValueError, match=r"rising_sam:rho=0\.05"):
        table.method("rising_sam:k=5")
