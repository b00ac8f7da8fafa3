"""Momentum-SAM trains perturbed weights; runs evaluate, switch and analyze those without."""

import json

import jax
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from experiments import train
from experiments.training.checkpoints import Checkpoints
from experiments.training.setup import make_run
from experiments.training.state import weights_of
from tests.support.analyzed_runs import opened
from tests.support.training import first_batches, start

RHO = 0.5


@pytest.fixture
def momentum_config(config):
    config.update(model="dense", method=f"momentum_sam:rho={RHO}", epochs=2, train_examples=512)
    return config


def assert_close(first, second):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-7), first, second)


def distance(state):
    difference = optax.tree.sub(state.params, weights_of(state))
    return float(optax.tree.norm(difference))


def after_two_steps(config, **options):
    trainer, pipeline, state = start(config, **options)
    for batch in first_batches(pipeline, 2):
        state, _ = trainer.phases[0].step(state, batch)
    return trainer, pipeline, state


def test_evaluation_takes_the_perturbation_off(momentum_config):
    trainer, pipeline, state = after_two_steps(momentum_config)
    np.testing.assert_allclose(distance(state), RHO, rtol=1e-4)
    clean = ol.momentum_sam_eval_params(state.opt_state, state.params)
    assert_close(weights_of(state), clean)
    plain = start(_without_method(momentum_config))[0]
    plain_state = plain.init(jax.random.key(0))._replace(
        params=clean, batch_stats=state.batch_stats
    )
    (examples,) = pipeline.evaluation["test"]()
    result, expected = trainer.evaluate(state, examples), plain.evaluate(plain_state, examples)
    np.testing.assert_allclose(result["loss"], expected["loss"], rtol=1e-6)


def _without_method(config):
    config = config.copy_and_resolve_references()
    config.method = "none"
    return config


def test_a_switch_continues_from_the_weights_without_the_perturbation(momentum_config):
    _, _, state = after_two_steps(momentum_config)
    plain, _, _ = start(_without_method(momentum_config))
    switched = plain.phases[0].enter(state, 2)
    assert_close(switched.params, weights_of(state))


@pytest.mark.parametrize(
    ("changes", "num_devices"),
    [({"microbatches": 4}, 1), ({"per_device_perturbation": True}, 2), ({"skip_nonfinite": 2}, 1)],
)
def test_the_perturbation_has_length_rho_in_every_kind_of_run(
    momentum_config, changes, num_devices
):
    momentum_config.update(changes)
    _, _, state = after_two_steps(momentum_config, num_devices=num_devices)
    np.testing.assert_allclose(distance(state), RHO, rtol=1e-4)


@pytest.mark.parametrize("skip", [0, 2])
def test_an_analysis_measures_the_weights_without_the_perturbation(momentum_config, skip, tmp_path):
    momentum_config.skip_nonfinite = skip
    train.main(momentum_config, tmp_path / "run")
    trainer, _ = make_run(momentum_config)
    with Checkpoints(tmp_path / "run" / "checkpoints") as saved:
        state = saved.restore(trainer.abstract_state).state
    np.testing.assert_allclose(distance(state), RHO, rtol=1e-4)
    measured = opened(tmp_path / "run").params
    assert_close(measured, jax.device_get(weights_of(state)))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert np.isfinite(json.loads(lines[-1])["test_loss"])
