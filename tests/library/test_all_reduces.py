"""How many all-reduces a training step takes: one for each gradient, one for all unsynced ones."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

import optax_lookbehind as ol
from benchmarks.hlo import count_all_reduces
from tests.support.devices import (
    STEPS,
    on_mesh,
)


def all_reduces(tx):
    """All-reduces that one training step executes."""
    matrix = jnp.eye(4)

    def step(w, state, batch):
        grad_fn = lambda p, i: jax.grad(lambda p: jnp.tanh(batch @ matrix @ p).sum())(p)
        grads = grad_fn(ol.per_device_params(w, "data"), 0)
        updates, state = tx.update(grads, state, w, grad_fn=grad_fn)
        return w + updates, state

    w = jnp.ones(4)  # a single leaf, so that a gradient is a single all-reduce
    compiled = jax.jit(on_mesh(step)).lower(w, tx.init(w), jnp.ones((16, 4))).compile()
    return count_all_reduces(compiled.as_text())


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("fast_optimizer", [None, optax.adam(0.1)])
def test_every_synced_gradient_is_averaged_once(k, fast_optimizer):
    tx = ol.lookbehind_sam(k, 0.1, "adaptive", fast_optimizer=fast_optimizer, axis_name="data")
    assert all_reduces(tx) == k + 1


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        # A fast optimizer needs the average in every inner step.
        (lambda **o: ol.lookbehind_sam(3, 0.1, 0.5, fast_optimizer=optax.adam(0.1), **o), 3),
        # A sum of gradients is averaged once; adaptive alpha needs the first gradient too.
        (lambda **o: ol.lookbehind_sam(3, 0.1, 0.5, **o), 1),
        (lambda **o: ol.lookbehind_sam(3, 0.1, "adaptive", **o), 1),
        (lambda **o: ol.multistep_sam(3, 0.1, **o), 1),
        (lambda **o: ol.multistep_sam(3, 0.1, average=True, **o), 1),
    ],
)
def test_unsynced_gradients_are_averaged_together(make, expected):
    assert all_reduces(make(axis_name="data", sync_perturbation=False)) == expected


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        # The gradient that decides is the one that the ascent follows.
        (lambda **o: ol.ae_sam(0.1, STEPS, **o), 2),
        (lambda **o: ol.ae_looksam(0.1, 0.5, STEPS, **o), 2),
        (lambda **o: ol.ae_lookbehind_sam(2, 0.1, 0.5, STEPS, **o), 3),
        (lambda **o: ol.ae_sam(0.1, STEPS, sync_perturbation=False, **o), 2),
    ],
)
def test_a_policy_averages_the_plain_gradient_once(make, expected):
    assert all_reduces(make(axis_name="data")) == expected


TWO_GRADIENTS = {
    "gsam": ol.gsam,
    "gnp": ol.gnp,
    "wsam": ol.wsam,
    "stable_sam": ol.stable_sam,
    "saner": ol.saner,
    "usam": ol.usam,
    "sam_on": functools.partial(ol.sam_on, mask=True),
    "friendly_sam": ol.friendly_sam,
    "vasso": ol.vasso,
    "wsam_decoupled": functools.partial(ol.wsam_decoupled, optax.adam(0.1), 0.1),
}


@pytest.mark.parametrize("name", TWO_GRADIENTS)
def test_methods_of_two_gradients_average_each_once_and_unsynced_both_together(name):
    make = functools.partial(TWO_GRADIENTS[name], rho=0.1, axis_name="data")
    assert all_reduces(make()) == 2
    assert all_reduces(make(sync_perturbation=False)) == 1
