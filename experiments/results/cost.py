"""Cost of runs in minibatch gradients."""

from ml_collections import ConfigDict

from experiments.continual.learners import learner
from experiments.methods.table import method
from experiments.training.phases import read_phases


def gradients(config: ConfigDict, minibatches: int) -> float:
    """Expected number of minibatch gradients of a run, the clean ones included.

    Args:
      config: the run's config.
      minibatches: minibatches of an epoch.
    """
    if "learner" in config:
        return config.epochs * minibatches * config.glances * _continual_gradients(config)
    phases = read_phases(config)
    ends = [*(phase.start for phase in phases[1:]), config.epochs]
    return sum(
        (end - start) * minibatches * bound.gradients_per_step() / bound.minibatches
        for (start, bound), end in zip(phases, ends, strict=True)
    )


def _continual_gradients(config: ConfigDict) -> float:
    """Gradients of a step; differentiation through inner steps is not counted."""
    learns = learner(config.learner)
    replay = min(config.replay, config.memory)
    plain, perturbed = learns.gradients(config.batch_size, replay)
    bound = method(config.method)
    return bound.gradients_per_step(clean=plain, perturbed=perturbed)
