"""Cost of runs in minibatch gradients."""

from ml_collections import ConfigDict

from experiments.tasks.continual.learners import gradients_per_step, is_lifelong
from experiments.training.phases import read_phases


def gradients(config: ConfigDict, minibatches: int) -> float:
    """Expected number of minibatch gradients of a run, the clean ones included.

    Args:
      config: the run's config.
      minibatches: minibatches of an epoch.
    """
    if is_lifelong(config):
        return config.epochs * minibatches * config.glances * gradients_per_step(config)
    phases = read_phases(config)
    ends = [*(phase.start for phase in phases[1:]), config.epochs]
    return sum(
        (end - start) * minibatches * bound.gradients_per_step() / bound.minibatches
        for (start, bound), end in zip(phases, ends, strict=True)
    )
