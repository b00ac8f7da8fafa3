"""The example of SAMPa in the guide to many devices, run as it stands there."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optax_lookbehind import sam_perturbation
from tests.support.variants import NEWER_CASES, flatten, loss_fn, minibatches, start

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "many-devices.md"
*_, EXAMPLE = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


def example(rho, interpolation, weight_decay=0.0, loss_fn=loss_fn, params=None):
    decayed = "optax.chain(optax.add_decayed_weights({}), optax.sgd(0.2, momentum=0.9))"
    changes = {
        "rho=0.1": f"rho={rho}",
        "interpolation=0.2": f"interpolation={interpolation}",
        "optax.sgd(0.1, momentum=0.9)": decayed.format(weight_decay),
    }
    block = EXAMPLE
    for before, after in changes.items():
        assert block.count(before) == 1
        block = block.replace(before, after)
    scope = {"jax": jax, "jnp": jnp, "optax": optax, "sam_perturbation": sam_perturbation}
    scope |= {"params": start() if params is None else params, "loss_fn": loss_fn}
    exec(block, scope)
    return scope


@pytest.mark.parametrize("name", ["sampa", "sampa_wd", "sampa_zero"])
def test_the_weights_are_the_recorded_ones(name, float64):
    scope = example(**NEWER_CASES[name]["hyperparameters"])
    params, state, data = scope["params"], scope["state"], minibatches()
    previous, weights = jax.tree.map(lambda a: a[0], data), []
    for t in range(8):
        current = jax.tree.map(lambda a: a[t % 4], data)
        params, state = scope["step"](params, state, previous, current)
        previous = current
        weights.append(flatten(params))
    np.testing.assert_allclose(weights, NEWER_CASES[name]["weights"], rtol=0, atol=1e-9)


def test_each_of_two_devices_takes_one_gradient(optimized):
    loss_fn = lambda w, x: jnp.mean(jnp.tanh(x @ w) ** 2)
    w, x = jnp.ones((64, 64)), jnp.ones((256, 64))
    scope = example(0.1, 0.2, loss_fn=loss_fn, params=w)
    program = scope["step"].lower(w, scope["state"], x, x).compile()
    gradient = jax.jit(jax.grad(loss_fn)).lower(w, x).compile()
    ratio = program.cost_analysis()["flops"] / gradient.cost_analysis()["flops"]
    assert 1 <= ratio < 1.2
    assert len(re.findall(r" all-(?:reduce|gather)(?:-start)?\(", program.as_text())) == 1
