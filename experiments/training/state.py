"""The state of a training run."""

from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import optax
from flax import nnx

import optax_lookbehind as ol

Metrics = dict[str, jax.Array]


class AnyState(Protocol):
    """A NamedTuple of pytrees: :class:`TrainState`, or the state of another training loop."""

    def _asdict(self) -> dict[str, Any]: ...


State = TypeVar("State", bound=AnyState)


class TrainState(NamedTuple):
    """Everything that a training step changes.

    Attributes:
      params: optimizer parameters: the weights, or ``optax.LookaheadParams`` of fast and slow ones.
      batch_stats: BatchNorm's running mean and variance.
      opt_state: the optimizer's state.
      key: PRNG key for the next step's augmentation and dropout.
      best: the state after the best epoch so far, with early stopping; else None.
      memory: what the task remembers of earlier batches; None for nothing.
    """

    params: optax.Params
    batch_stats: nnx.State
    opt_state: optax.OptState
    key: jax.Array
    best: "TrainState | None" = None
    memory: Any = None


def weights_of(state: TrainState) -> nnx.State:
    """The weights to evaluate and to keep.

    For Lookahead these are the slow ones, for Momentum-SAM those without the perturbation.
    """
    if isinstance(state.params, optax.LookaheadParams):
        return state.params.slow
    if optax.tree.get(state.opt_state, "MomentumSAMState") is not None:
        return ol.momentum_sam_eval_params(state.opt_state, state.params)
    return state.params


def fast_weights_of(params: optax.Params) -> nnx.State:
    """The weights to take gradients at: for Lookahead, the fast ones."""
    return params.fast if isinstance(params, optax.LookaheadParams) else params
