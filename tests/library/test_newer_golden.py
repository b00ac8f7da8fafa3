"""Late SAM, functional SAM, LE-SAM, XSAM and RMS ascent: recorded trajectories."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec

import optax_lookbehind as ol
from tests.support.variants import (
    NEWER_CASES,
    make_functional_step,
    make_step,
    sgd,
    train,
)

pytestmark = pytest.mark.usefixtures("float64")


def late_sam(rho, total_steps, fraction, start, **options):
    del start  # round((1 - fraction) * total_steps)
    return ol.late_sam(rho, total_steps, fraction, **options)


def late_sam_ramp(rho, total_steps, fraction, start, ramp_steps):
    ramp = lambda t: rho * jnp.clip((t - start + 1.0) / ramp_steps, 0, 1)
    return late_sam(ramp, total_steps, fraction, start)


def le_sam(budget, rho_max, **options):
    schedule = isinstance(budget, list) and (lambda t: jnp.asarray(budget)[t])
    return ol.le_sam(schedule or budget, rho_max, **options)


def le_sam_alpha(budget, rho_max, alpha):
    """The ``lesam_alpha`` of the authors' code: g_s - alpha g."""
    combine = ol.combination(
        lambda g, g_s, alpha: optax.tree.add_scale(g_s, -alpha, g), alpha=alpha
    )
    return ol.multistep(ol.budget_perturbation(budget, rho_max), combine=combine)


def rms_sam(rho, decay, rms_eps):
    return ol.multistep(ol.rms_perturbation(rho, decay, rms_eps))


# Recorded case -> (its hyperparameters -> the method).
CASES = {
    "sgd": optax.identity,
    "sam": ol.sam,
    "late_sam": late_sam,
    "late_sam_wd": late_sam,
    "late_sam_ramp": late_sam_ramp,
    "rms_sam": rms_sam,
    "le_sam": le_sam,
    "le_sam_uncapped": le_sam,
    "le_sam_schedule": le_sam,
    "le_sam_alpha": le_sam_alpha,
    "xsam": ol.xsam,
    "xsam_k2": ol.xsam,
}
FUNCTIONAL = {
    "functional_sam": ol.sam,
    "functional_sam_wd": ol.sam,
    "functional_asam": ol.asam,
    "rms_functional_sam": rms_sam,
}
TWO_WORKERS = ["functional_two_workers"]
# tests/docs runs them: a recipe, an example.
IN_DOCS = {
    "adam_preconditioned_sam",
    "adam_preconditioned_functional_sam",
    "async_sam",
    "sampa",
    "sampa_wd",
    "sampa_zero",
    "stale_sam",
    "stale_sam_wd",
    "unified_sam",
    "unified_sam_rising",
    "xsam_search",
}
# Other readings of a method, and methods that the library does not have.
LEFT_OUT = {
    "late_sam_restart",
    "light_sam",
    "light_sam_ascent",
    "sam_polyak",
    "sampa_paper",
    "usam_polyak",
}


def make(name, **options):
    hyperparameters = dict(NEWER_CASES[name]["hyperparameters"])
    decay = hyperparameters.pop("weight_decay", 0.0)
    method = (CASES | FUNCTIONAL)[name](**hyperparameters, **options)
    return optax.chain(method, optax.add_decayed_weights(decay), sgd())


def assert_recorded(weights, name):
    np.testing.assert_allclose(weights, np.array(NEWER_CASES[name]["weights"]), rtol=0, atol=1e-9)


def test_every_recorded_case_is_matched_or_left_out():
    assert {*CASES, *FUNCTIONAL, *TWO_WORKERS} | IN_DOCS | LEFT_OUT == NEWER_CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_trajectory_is_the_recorded_one(name):
    assert_recorded(train(make(name))[0], name)


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_trajectory_of_the_functional_gradient_is_the_recorded_one(name):
    tx = make(name)
    assert_recorded(train(tx, make_functional_step(tx))[0], name)


def on_two_devices(step):
    sharded, shared = PartitionSpec("data"), PartitionSpec()
    return jax.shard_map(
        step,
        mesh=jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,)),
        in_specs=(shared, shared, sharded),
        out_specs=(shared, shared),
    )


def on_two_microbatches(step):
    """The same under ``vmap`` on one device."""
    mapped = jax.vmap(step, axis_name="data", in_axes=(None, None, 0), out_axes=None)
    halved = lambda batch: jax.tree.map(lambda x: x.reshape(2, -1, *x.shape[1:]), batch)
    return lambda params, state, batch: mapped(params, state, halved(batch))


@pytest.mark.parametrize("on_two", [on_two_devices, on_two_microbatches])
def test_each_worker_has_the_functional_gradient_of_its_own_half(on_two):
    (name,) = TWO_WORKERS
    unsynced = {"axis_name": "data", "sync_perturbation": False}
    tx = optax.chain(ol.sam(**NEWER_CASES[name]["hyperparameters"], **unsynced), sgd())
    assert_recorded(train(tx, on_two(make_functional_step(tx, "data")))[0], name)


@pytest.mark.parametrize("name", ["le_sam", "xsam_k2"])
def test_two_synced_devices_follow_the_trajectory_of_one(name):
    tx = make(name, axis_name="data")
    assert_recorded(train(tx, on_two_devices(make_step(tx, "data")))[0], name)
