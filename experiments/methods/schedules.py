"""The learning rate over a run."""

from collections.abc import Callable, Mapping

import optax
from ml_collections import ConfigDict

from experiments.configs.lookup import look_up

_STEP_DECAY = 0.1  # after 25%, 50% and 75% of the epochs: 50, 100 and 150 of 200


def _step(peak: float, steps: int) -> optax.Schedule:
    boundaries = {round(share * steps): _STEP_DECAY for share in (0.25, 0.5, 0.75)}
    return optax.piecewise_constant_schedule(peak, boundaries)


def _constant(peak: float, steps: int) -> optax.Schedule:
    del steps
    return optax.constant_schedule(peak)


SCHEDULES: Mapping[str, Callable[[float, int], optax.Schedule]] = {
    "constant": _constant,  # lifelong learning
    "cosine": optax.cosine_decay_schedule,  # the AE-SAM paper, which does not state the end: zero
    "step": _step,  # the Lookbehind paper, appendix A.1.3
}


def learning_rate(config: ConfigDict, steps: int, inner_steps: int = 1) -> optax.Schedule:
    """The config's schedule over ``steps`` training steps.

    Args:
      config: with ``schedule`` and ``learning_rate``.
      steps: number of training steps of the run.
      inner_steps: how often the optimizer is called in a training step; the rate stays the same
        within one.
    """
    schedule = look_up("schedule", config.schedule, SCHEDULES)(config.learning_rate, steps)
    return lambda count: schedule(count // inner_steps)
