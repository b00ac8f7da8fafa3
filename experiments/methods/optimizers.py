"""The base optimizer that moves the weights, inside or behind a sharpness-aware transformation."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax
from ml_collections import ConfigDict

from experiments.configs.lookup import look_up
from experiments.methods.masks import without_biases
from experiments.methods.schedules import Schedule, read_schedule

# Key of the base optimizer's state within a method's state, where `phases.convert_state` looks.
NAME = "optimizer"


class Optimizer(NamedTuple):
    """A row of the table below.

    Attributes:
      title: its usual name.
      build: ``(config, learning_rate) -> optax.GradientTransformation``.
    """

    title: str
    build: Callable[[ConfigDict, optax.Schedule], optax.GradientTransformation]


def _sgd(config: ConfigDict, rate: optax.Schedule) -> optax.GradientTransformation:
    """Weight decay enters the momentum, as in PyTorch's SGD."""
    return optax.chain(_decay(config), optax.sgd(rate, config.momentum))


def _adam(config: ConfigDict, rate: optax.Schedule) -> optax.GradientTransformation:
    """Weight decay is added to the gradient, as in PyTorch's Adam."""
    return optax.chain(_decay(config), optax.adam(rate, *config.betas, config.epsilon))


def _adamw(config: ConfigDict, rate: optax.Schedule) -> optax.GradientTransformation:
    """Weight decay is decoupled from the gradient, as in PyTorch's AdamW."""
    return optax.adamw(
        rate,
        *config.betas,
        config.epsilon,
        weight_decay=config.weight_decay,
        mask=_decayed(config),
    )


def _decay(config: ConfigDict) -> optax.GradientTransformation:
    return optax.add_decayed_weights(config.weight_decay, _decayed(config))


def _decayed(config: ConfigDict) -> Callable[[optax.Params], Any] | None:
    """The weights that decay, as a mask; None for all of them."""
    return None if config.decay_biases else without_biases


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam": Optimizer("Adam", _adam),
    "adamw": Optimizer("AdamW", _adamw),
    "sgd": Optimizer("SGD", _sgd),
}


class BaseOptimizer(NamedTuple):
    """The optimizer and the schedule of a config.

    Attributes:
      title: the optimizer's usual name.
      learning_rate: ``(steps, inner_steps=1) -> schedule``, see
        :data:`~experiments.methods.schedules.Schedule`.
      with_rate: ``schedule -> optax.GradientTransformation``.
    """

    title: str
    learning_rate: Schedule
    with_rate: Callable[[optax.Schedule], optax.GradientTransformation]

    def build(self, steps: int, inner_steps: int = 1) -> optax.GradientTransformationExtraArgs:
        """The optimizer, called ``inner_steps`` times in each of ``steps`` training steps."""
        return optax.named_chain((NAME, self.with_rate(self.learning_rate(steps, inner_steps))))


def read_optimizer(config: ConfigDict) -> BaseOptimizer:
    """The optimizer and the schedule that a config names.

    Raises:
      ValueError: if one of the names is unknown.
    """
    row = look_up("optimizer", config.optimizer, OPTIMIZERS)

    def with_rate(rate: optax.Schedule) -> optax.GradientTransformation:
        tx = row.build(config, rate)
        if config.clip_norm is None:
            return tx
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), tx)

    return BaseOptimizer(row.title, read_schedule(config), with_rate)
