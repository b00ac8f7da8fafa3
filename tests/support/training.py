"""A few training steps of a config."""

from itertools import islice

import jax

from experiments.parallel.mesh import make_mesh
from experiments.training.setup import make_run, seed_keys


def start(config, num_devices=1):
    """The first epoch's trainer, the pipeline and the initial state."""
    trainers, pipeline = make_run(config, make_mesh(num_devices))
    init_key, _ = seed_keys(config.seed)
    return trainers[0], pipeline, trainers[0].init(init_key)


def first_batches(pipeline, number):
    """The first batches of the first epoch."""
    return list(islice(next(pipeline.train(0)), number))


def take_steps(config, number, num_devices=1):
    """The metrics of each step, and the state after each, on the host."""
    trainer, pipeline, state = start(config, num_devices)
    metrics, states = [], []
    for batch in first_batches(pipeline, number):
        state, step_metrics = trainer.step(state, batch)
        metrics.append(jax.device_get(step_metrics))
        states.append(jax.device_get(state._replace(key=None)))
    return metrics, states
