"""Cost of runs in minibatch gradients."""

from collections import Counter
from functools import cache

from ml_collections import ConfigDict

from experiments.continual.learners import learner
from experiments.methods.table import method
from experiments.training.method_switch import methods_by_epoch


def gradients(config: ConfigDict, minibatches: int) -> float:
    """Expected number of minibatch gradients of a run, the clean ones included.

    Args:
      config: the run's config.
      minibatches: minibatches of an epoch.
    """
    if "learner" in config:
        return config.epochs * minibatches * config.glances * _continual_gradients(config)
    epochs = Counter(methods_by_epoch(config))
    return sum(n * minibatches * _per_minibatch(name) for name, n in epochs.items())


@cache  # the same few methods are looked up thousands of times
def _per_minibatch(name: str) -> float:
    bound = method(name)
    return bound.gradients_per_step() / bound.minibatches


def _continual_gradients(config: ConfigDict) -> float:
    """Gradients of a step; differentiation through inner steps is not counted."""
    learns = learner(config.learner)
    replay = min(config.replay, config.memory)
    plain, perturbed = learns.gradients(config.batch_size, replay)
    bound = method(learns.method(config.method))
    return bound.gradients_per_step(clean=plain, perturbed=perturbed)
