"""The learning rate over a run."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.configs.lookup import look_up

_STEP_DECAY = 0.1  # after 25%, 50% and 75% of the epochs: 50, 100 and 150 of 200
_RESTART_FLOOR = 1e-3  # of the highest rate: 1e-6 in SAMformer's recipe


def _step(config: ConfigDict, steps: int) -> optax.Schedule:
    boundaries = {round(fraction * steps): _STEP_DECAY for fraction in (0.25, 0.5, 0.75)}
    return optax.piecewise_constant_schedule(config.learning_rate, boundaries)


def _constant(config: ConfigDict, steps: int) -> optax.Schedule:
    del steps
    return optax.constant_schedule(config.learning_rate)


def _cosine(config: ConfigDict, steps: int) -> optax.Schedule:
    return optax.cosine_decay_schedule(config.learning_rate, steps)


def _cosine_restarts(config: ConfigDict, steps: int) -> optax.Schedule:
    """Half a cosine from the rate towards a thousandth of it, constant within an epoch."""
    period, steps_per_epoch = config.restart_epochs, max(1, steps // config.epochs)
    cosine = optax.cosine_decay_schedule(config.learning_rate, period, alpha=_RESTART_FLOOR)
    return lambda count: cosine(count // steps_per_epoch % period)


def _inverse_sqrt(config: ConfigDict, steps: int) -> optax.Schedule:
    """``learning_rate * sqrt(warmup_steps / n)``, whatever the length of the run."""
    del steps
    warmup_steps = config.warmup_steps
    if warmup_steps == 0:
        raise ValueError("warmup_steps must be >= 1 for the schedule inverse_sqrt, got 0.")
    return lambda count: (
        config.learning_rate * jnp.sqrt(warmup_steps / jnp.maximum(count, warmup_steps))
    )


SCHEDULES: Mapping[str, Callable[[ConfigDict, int], optax.Schedule]] = {
    "constant": _constant,  # lifelong learning
    "cosine": _cosine,  # the AE-SAM paper, which does not state the end: zero
    "cosine_restarts": _cosine_restarts,  # SAMformer
    "inverse_sqrt": _inverse_sqrt,  # fairseq's translation recipes
    "step": _step,  # the Lookbehind paper, appendix A.1.3
}


# ``(steps, inner_steps=1) -> schedule``: the learning rate by the number of calls of the optimizer,
# which is called ``inner_steps`` times at one rate in each of ``steps`` training steps.
Schedule = Callable[..., optax.Schedule]


def read_schedule(config: ConfigDict) -> Schedule:
    """The schedule that a config names, with its warm-up.

    During the first ``warmup_steps`` steps the rate is multiplied by a factor that rises linearly
    from 0 to 1.

    Raises:
      ValueError: if the name is unknown.
    """
    make_schedule = look_up("schedule", config.schedule, SCHEDULES)
    warmup_steps = config.warmup_steps

    def learning_rate(steps: int, inner_steps: int = 1) -> optax.Schedule:
        schedule = make_schedule(config, steps)

        def rate(count: jax.Array) -> jax.Array:
            step = count // inner_steps
            if warmup_steps == 0:
                return schedule(step)
            return schedule(step) * jnp.minimum(step / warmup_steps, 1)

        return rate

    return learning_rate
