"""GSAM, WSAM, Momentum-SAM and others: recorded trajectories that agree with the authors' code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec

import optax_lookbehind as ol
from tests.support.variants import CASES, LEARNING_RATE, flatten, is_norm, make_step, sgd, train

pytestmark = pytest.mark.usefixtures("float64")


def friendly_sam(rho, sigma, lmbda, **devices):
    return ol.friendly_sam(rho, sigma, decay=lmbda, **devices)


def gsam_with_scheduled_rho(rho, alpha, **devices):
    return ol.gsam(lambda t: jnp.asarray(rho)[t], alpha, **devices)


def momentum_sam_adam(rho, learning_rate, b1, b2, adam_eps, weight_decay):
    assert weight_decay == 0
    return ol.momentum_sam(optax.adam(learning_rate, b1, b2, adam_eps), rho)


# Recorded case -> (its hyperparameters -> the method).
CHAINED = {
    "sam": ol.sam,
    "asam": ol.asam,
    "gsam": ol.gsam,
    "gsam_rho_schedule": gsam_with_scheduled_rho,
    "gnp": ol.gnp,
    "wsam_coupled": ol.wsam,
    "stable_sam": ol.stable_sam,
    "usam": ol.usam,
    "friendly_sam": friendly_sam,
    "vasso": ol.vasso,
    "sam_on": functools.partial(ol.sam_on, mask=is_norm),
    "saner": ol.saner,
}
WSAM = {"wsam": functools.partial(ol.wsam_decoupled, sgd(), LEARNING_RATE)}
MOMENTUM_SAM = {
    "momentum_sam": functools.partial(ol.momentum_sam, sgd()),
    "momentum_sam_adam": momentum_sam_adam,
}


def make(name, **devices):
    hyperparameters = CASES[name]["hyperparameters"]
    if name in CHAINED:
        return optax.chain(CHAINED[name](**hyperparameters, **devices), sgd())
    return (WSAM | MOMENTUM_SAM)[name](**hyperparameters, **devices)


def on_two_devices(tx):
    """A step under ``shard_map``, half of the minibatch on each device."""
    sharded, shared = PartitionSpec("data"), PartitionSpec()
    return jax.shard_map(
        make_step(tx, "data"),
        mesh=jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,)),
        in_specs=(shared, shared, sharded),
        out_specs=(shared, shared),
    )


def on_two_microbatches(tx):
    """The same under ``vmap`` on one device."""
    step = jax.vmap(make_step(tx, "data"), axis_name="data", in_axes=(None, None, 0), out_axes=None)

    def halved(params, state, batch):
        return step(params, state, jax.tree.map(lambda x: x.reshape(2, -1, *x.shape[1:]), batch))

    return halved


def assert_recorded(weights, name, key="weights"):
    np.testing.assert_allclose(weights, np.array(CASES[name][key]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [*CHAINED, *WSAM, *MOMENTUM_SAM])
def test_trajectory_is_the_recorded_one(name):
    assert_recorded(train(make(name))[0], name)


@pytest.mark.parametrize("name", MOMENTUM_SAM)
def test_momentum_sam_eval_params_are_the_weights_without_the_perturbation(name):
    _, states = train(make(name))
    clean = [flatten(ol.momentum_sam_eval_params(state, params)) for state, params in states]
    assert_recorded(clean, name, "clean")


# One of each kind (combination, filter, mask, complete method); the others are made alike.
REPRESENTATIVES = ["gsam", "friendly_sam", "sam_on", "wsam"]


@pytest.mark.parametrize(
    ("name", "on_two"),
    [(name, on_two_devices) for name in REPRESENTATIVES]
    + [
        pytest.param(name, on_two, marks=pytest.mark.slow)
        for name in [*CHAINED, *WSAM]
        for on_two in (on_two_devices, on_two_microbatches)
        if name not in REPRESENTATIVES or on_two is on_two_microbatches
    ],
)
def test_two_synced_devices_follow_the_trajectory_of_one(name, on_two):
    tx = make(name, axis_name="data")
    assert_recorded(train(tx, on_two(tx))[0], name)


@pytest.mark.parametrize("on_two", [on_two_devices, on_two_microbatches])
def test_unsynced_gsam_perturbs_and_decomposes_on_each_device(on_two):
    name = "gsam_two_workers"
    tx = optax.chain(
        ol.gsam(**CASES[name]["hyperparameters"], axis_name="data", sync_perturbation=False), sgd()
    )
    assert_recorded(train(tx, on_two(tx))[0], name)
