"""Cost of runs in minibatch gradients, and in hours by the time of finished runs."""

from collections import Counter
from functools import cache

import numpy as np
from ml_collections import ConfigDict
from scipy.stats import norm

from experiments.continual.learners import learner
from experiments.methods.method import BoundMethod
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


def gradients_per_step(bound: BoundMethod, applied: float | None = None) -> float:
    """Mean number of gradients of a step, with the fraction of sharpness-aware steps if known."""
    fraction = expected_applied(bound) if applied is None else applied
    return bound.minibatches + (1 + bound.extra_gradients - bound.minibatches) * fraction


def expected_applied(bound: BoundMethod) -> float:
    """Expected fraction of sharpness-aware steps.

    For the adaptive policy: the mean of P(Z >= c) over its thresholds c from lambda_2 to lambda_1,
    Z standard normal.
    """
    arguments = bound.arguments
    if "lambda_1" in arguments:
        return float(norm.sf(np.linspace(arguments["lambda_2"], arguments["lambda_1"])).mean())
    if "period" in arguments:
        return 1 / arguments["period"]
    if "probability" in arguments:
        return arguments["probability"]
    return 1.0 if bound.ascent_steps else 0.0


@cache  # the same few methods are looked up thousands of times
def _per_minibatch(name: str) -> float:
    bound = method(name)
    return gradients_per_step(bound) / bound.minibatches


def _continual_gradients(config: ConfigDict) -> float:
    """Gradients of a step; differentiation through inner steps is not counted."""
    bound_learner = learner(config.learner)
    bound = method(bound_learner.method(config.method))
    plain, perturbed = bound_learner.gradients(config.batch_size, min(config.replay, config.memory))
    return plain + expected_applied(bound) * bound.extra_gradients * perturbed
