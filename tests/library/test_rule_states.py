"""The state of a perturbation rule advances once per training step, alike on all devices."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.problems import quadratic


class MeanGradient(NamedTuple):
    """A running mean of the plain gradients."""

    mean: Any


def away_from_the_mean(decay=0.5):
    """A filter in front of a rule: the gradient minus the mean of those before."""

    def update(updates, state, params=None):
        mean = jax.tree.map(lambda m, g: decay * m + (1 - decay) * g, state.mean, updates)
        return optax.tree.sub(updates, state.mean), MeanGradient(mean)

    init = lambda params: MeanGradient(optax.tree.zeros_like(params))
    return optax.GradientTransformation(init, update)


STATEFUL = {
    "always": lambda rule, **o: ol.multistep(rule, **o),
    "multistep": lambda rule, **o: ol.multistep(rule, 3, average=True, **o),
    "lookbehind": lambda rule, **o: ol.lookbehind(rule, 2, 0.5, **o),
    "periodic": lambda rule, **o: ol.multistep(rule, policy=ol.periodic_policy(3), **o),
    "reuse": lambda rule, **o: ol.multistep(
        rule, combine=ol.reuse_direction(0.5), policy=ol.periodic_policy(3), **o
    ),
}


@pytest.mark.parametrize("sync", [None, True, False])
@pytest.mark.parametrize("name", STATEFUL)
def test_the_state_of_a_rule_follows_the_plain_gradient_that_devices_share(name, sync, float64):
    options = {} if sync is None else {"axis_name": "data", "sync_perturbation": sync}
    rule = optax.chain(away_from_the_mean(), ol.sam_perturbation(0.1))
    tx = STATEFUL[name](rule, **options)
    matrix, w = map(jnp.asarray, quadratic())
    centres = jnp.asarray(np.random.default_rng(0).normal(size=(4, len(w))))  # one per device

    def step(w, state, centre):
        grad_fn = lambda p, i: matrix @ p - centre
        updates, state = tx.update(grad_fn(w, 0), state, w, grad_fn=grad_fn)
        return w - 0.1 * updates, state

    if sync is None:
        train = lambda w, state: step(w, state, centres.mean(0))
    else:  # out_axes=None raises for a state that differs between the devices
        mapped = jax.vmap(step, in_axes=(None, None, 0), out_axes=None, axis_name="data")
        train = lambda w, state: mapped(w, state, centres)
    train = jax.jit(train)
    state, mean = tx.init(w), 0
    for _ in range(5):
        mean = 0.5 * mean + 0.5 * (matrix @ w - centres.mean(0))
        w, state = train(w, state)
        np.testing.assert_allclose(optax.tree.get(state, "mean"), mean, rtol=1e-12)
