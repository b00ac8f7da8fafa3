"""Cost of runs: numbers of gradients, and hours on this machine."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from scipy.stats import norm

from experiments.campaign.runs import Run
from experiments.campaign.timing import gradient_seconds
from experiments.continual.learners import learner
from experiments.data.sizes import IMAGES, minibatches_per_epoch, training_examples
from experiments.methods.method import BoundMethod
from experiments.methods.table import method
from experiments.training.method_switch import methods_by_epoch


def gradients(config: ConfigDict) -> float:
    """Expected number of minibatch gradients of a run, the clean ones included."""
    if "learner" in config:
        return _continual_gradients(config)
    minibatches = minibatches_per_epoch(config)
    epochs = Counter(methods_by_epoch(config))
    return sum(n * minibatches * _gradients_per_minibatch(name) for name, n in epochs.items())


@cache  # the same few methods are looked up thousands of times
def _gradients_per_minibatch(name: str) -> float:
    bound = method(name)
    return gradients_per_step(bound) / bound.minibatches


def _continual_gradients(config: ConfigDict) -> float:
    """The same for a continual run; differentiation through inner steps is not counted."""
    _, _, classes = IMAGES[config.dataset]
    steps = (
        training_examples(config)
        // classes
        * config.classes_per_task
        // config.batch_size
        * config.glances
    )
    bound_learner = learner(config.learner)
    bound = method(bound_learner.method(config.method))
    replay = min(config.replay, config.memory)
    plain, perturbed = bound_learner.gradients(config.batch_size, replay)
    extra = expected_applied(bound) * bound.extra_gradients
    return config.epochs * steps * (plain + extra * perturbed)


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


def hours(runs: Sequence[Run], file: Path) -> float:
    """Hours that the runs take one after the other here, from a measured gradient.

    Args:
      runs: the runs.
      file: JSON file of measured gradients, which are measured once for each machine.
    """
    seconds = sum(gradients(run.config) * gradient_seconds(run.config, file) for run in runs)
    return seconds / 3600
