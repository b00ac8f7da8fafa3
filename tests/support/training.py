"""A few training steps of a config."""

from itertools import islice

import jax
import numpy as np

from experiments.parallel.mesh import make_mesh
from experiments.training.setup import make_run, seed_keys


def start(config, num_devices=1):
    """The first epoch's trainer, the pipeline and the initial state."""
    trainer, pipeline = make_run(config, make_mesh(num_devices))
    init_key, _ = seed_keys(config.seed)
    return trainer, pipeline, trainer.init(init_key)


def first_batches(pipeline, number):
    """The first batches of the first epoch."""
    return list(islice(next(pipeline.train(0)), number))


def assert_epochs_continue_within(pipeline):
    """The batches from the second step of the second epoch are those of epochs from their start."""
    whole, resumed = pipeline.train(0), pipeline.train(1, 1)
    list(next(whole))  # streamed epochs are parts of one stream
    for first in (1, 0):
        batches = list(next(whole))
        assert len(batches) == pipeline.steps(1) > 1
        jax.tree.map(np.testing.assert_array_equal, list(next(resumed)), batches[first:])


def take_steps(config, number, num_devices=1):
    """The metrics of each step, and the state after each, on the host."""
    trainer, pipeline, state = start(config, num_devices)
    metrics, states = [], []
    for batch in first_batches(pipeline, number):
        state, step_metrics = trainer.phases[0].step(state, batch)
        metrics.append(jax.device_get(step_metrics))
        states.append(jax.device_get(state._replace(key=None)))
    return metrics, states
