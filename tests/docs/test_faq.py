"""The code of the page of questions, as it stands there."""

import pathlib
import re

import jax
import numpy as np
import optax

import optax_lookbehind as ol
from tests.support.problems import batches, network

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "faq.md"
SHARPNESS, ADD_SAM = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


def test_a_running_project_keeps_its_momentum_and_logs_the_sharpness():
    params, loss_fn = network()
    batch = jax.tree.map(lambda x: x[0], batches())
    optimizer = optax.sgd(0.1, momentum=0.9)
    grads = jax.grad(loss_fn)(params, batch)
    _, opt_state = optimizer.update(grads, optimizer.init(params), params)
    scope = {"optax": optax, "sam": ol.sam, "optimizer": optimizer, "params": params}
    scope["opt_state"] = opt_state
    exec(ADD_SAM, scope)
    loss, grads, grad_fn = ol.value_and_grad(loss_fn)(params, batch)
    updates, new_state = scope["tx"].update(grads, scope["opt_state"], params, grad_fn=grad_fn)
    point = optax.tree.add_scale(params, 0.05 / optax.tree.norm(grads), grads)
    perturbed_loss, perturbed = jax.value_and_grad(loss_fn)(point, batch)
    expected, _ = optimizer.update(perturbed, opt_state, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), updates, expected)
    scope |= {"opt_state": new_state, "loss": loss}
    exec(SHARPNESS, scope)
    np.testing.assert_allclose(scope["sharpness"], perturbed_loss - loss, atol=1e-6)
    assert scope["sharpness"] > 0
