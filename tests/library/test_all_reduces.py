"""How many all-reduces a training step takes: one for each gradient, one for all unsynced ones."""

import jax
import jax.numpy as jnp
import pytest

import optax_lookbehind as ol
from benchmarks.hlo import count_all_reduces
from tests.support.devices import on_mesh
from tests.support.methods import METHODS, each


def all_reduces(tx, values=False):
    """All-reduces that one training step executes, the losses being returned, too, or not."""

    def step(w, state, batch):
        def grad_fn(p, i):
            loss_fn = lambda p: jnp.tanh((batch + i) @ p).sum()
            value, grads = jax.value_and_grad(loss_fn)(p)
            return ol.ValueAndGrads(value, grads) if values else grads

        grads = jax.tree.leaves(grad_fn(ol.per_device_params(w, "data"), 0))[-1]
        updates, state = tx.update(grads, state, w, grad_fn=grad_fn)
        return w + updates, state

    w = jnp.ones(4)  # a single leaf, so that a gradient is a single all-reduce
    compiled = jax.jit(on_mesh(step)).lower(w, tx.init(w), jnp.ones((16, 4))).compile()
    return count_all_reduces(compiled.as_text())


# A sum of gradients is averaged once, a fast optimizer needs the average in every inner step, and
# the gradient on which a policy decides is the one that a synced ascent follows.
@pytest.mark.parametrize("sync", [True, False])
@each(lambda method: method.all_reduces)
def test_gradients_are_averaged_once_each_and_unsynced_ones_together(method, sync):
    tx = method.make(axis_name="data", sync_perturbation=sync)
    assert all_reduces(tx) == method.all_reduces[0 if sync else 1]


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("name", ["lookbehind_sam_adaptive", "lookbehind_adam"])
def test_k_synced_ascent_steps_take_k_plus_one(name, k):
    assert all_reduces(METHODS[name].make(k=k, axis_name="data")) == k + 1


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("name", ["sam", "lookbehind_sam", "ae_looksam", "gsam"])
def test_losses_travel_with_the_gradients(name, sync):
    tx = METHODS[name].make(axis_name="data", sync_perturbation=sync)
    assert all_reduces(tx, values=True) == METHODS[name].all_reduces[0 if sync else 1]
