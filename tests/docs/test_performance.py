"""The recipes of the pages on performance and tuning, as they stand there."""

import functools
import pathlib
import re

import jax
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from optax_lookbehind import sharpness
from tests.support.problems import batches, network

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S)


@pytest.fixture
def scope():
    params, loss_fn = network()
    tx = optax.chain(ol.lookbehind_sam(3, 0.05, 0.5), optax.sgd(0.1, momentum=0.9))
    names = {"jax": jax, "optax": optax, "functools": functools, "loss_fn": loss_fn, "tx": tx}
    names |= {"value_and_grad": ol.value_and_grad, "params": params}
    return names | {"batch": jax.tree.map(lambda x: x[0], batches())}


def one_step(scope):
    _, grads, grad_fn = ol.value_and_grad(scope["loss_fn"])(scope["params"], scope["batch"])
    state = scope["tx"].init(scope["params"])
    return scope["tx"].update(grads, state, scope["params"], grad_fn=grad_fn)[0]


def test_flat_weights_take_the_same_step(scope):
    flat, _ = jax.flatten_util.ravel_pytree(scope["params"])
    scope["opt_state"] = scope["tx"].init(flat)
    exec(blocks("performance.md")[0], scope)
    found = scope["unravel"](scope["updates"])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    jax.tree.map(close, found, one_step(scope))


def test_two_compiled_steps_are_late_sam(scope):
    total_steps = 10
    scope |= {"total_steps": total_steps, "batches": [scope["batch"]] * total_steps}
    scope["tx"] = optax.chain(ol.sam(0.05), optax.sgd(0.1))
    late = optax.chain(ol.late_sam(0.05, total_steps, fraction=0.2), optax.sgd(0.1))
    params, state = scope["params"], late.init(scope["params"])
    for _ in range(total_steps):
        _, grads, grad_fn = ol.value_and_grad(scope["loss_fn"])(params, scope["batch"])
        updates, state = late.update(grads, state, params, grad_fn=grad_fn)
        params = optax.apply_updates(params, updates)
    scope["opt_state"] = scope["tx"].init(scope["params"])
    exec(blocks("performance.md")[1], scope)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, scope["params"], params)
    program = scope["step"].lower(params, scope["opt_state"], scope["batch"], apply=True).as_text()
    assert "stablehlo.case" not in program


class Log:
    def __init__(self):
        self.values = []

    def add_scalar(self, name, value, step):
        self.values.append((name, value, step))

    def log(self, values, step):
        self.values += [(name, value, step) for name, value in values.items()]


def test_the_radius_is_proposed_and_the_sharpness_logged(scope, capsys):
    (images, labels) = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batches())
    images, labels = (np.concatenate([x] * 60)[:384] for x in (images, labels))
    propose, log = blocks("tuning.md")
    scope |= {"images": images, "labels": labels, "writer": Log(), "wandb": Log(), "step": 7}
    exec(propose, scope)
    assert capsys.readouterr().out == ""  # no problem was found
    found = sharpness.propose_rho(
        scope["loss_fn"], scope["params"], sharpness.minibatches((images, labels), 128)
    )
    assert scope["found"].rho == found.rho
    scope["opt_state"] = scope["tx"].init(scope["params"])
    exec(log, scope)
    for logger in (scope["writer"], scope["wandb"]):
        ((name, value, step),) = logger.values
        assert (name, step) == ("sharpness", 7)
        np.testing.assert_allclose(value, 0.1, rtol=0.2)  # the rise that was asked for
