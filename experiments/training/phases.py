"""The methods of a run, which may change after some epochs (Lookbehind-SAM, Figure 8)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.methods import optimizers
from experiments.methods.method import BoundMethod
from experiments.methods.table import method
from experiments.training.state import TrainState, weights_of
from optax_lookbehind import PolicyState


class MethodPhase(NamedTuple):
    """A method and the first epoch that it trains, from 0."""

    start: int
    method: BoundMethod


def read_phases(config: ConfigDict) -> list[MethodPhase]:
    """The methods of a run: ``config.method``, and from some epochs on those of ``config.switch``.

    Raises:
      ValueError: if a method's string is invalid, the epochs are, or the methods take different
        numbers of minibatches per step.
    """
    pairs = [tuple(pair) if isinstance(pair, (tuple, list)) else (pair,) for pair in config.switch]
    starts = [pair[0] for pair in pairs]
    if (
        any(len(pair) != 2 or not _is_switch(*pair) for pair in pairs)
        or sorted(set(starts)) != starts
        or not all(0 < start < config.epochs for start in starts)
    ):
        raise ValueError(
            "switch must be (epoch, method) pairs with increasing epochs in "
            f"[1, {config.epochs - 1}], e.g. ((100, 'lookbehind_sam:k=5'),); got "
            f"{tuple(config.switch)!r}."
        )
    phases = [MethodPhase(start, method(text)) for start, text in ((0, config.method), *pairs)]
    minibatches = {str(phase.method): phase.method.minibatches for phase in phases}
    if len(set(minibatches.values())) > 1:
        raise ValueError(
            "switch must be between methods that take the same number of minibatches per step, "
            f"got {minibatches}."
        )
    return phases


def method_of_epoch(config: ConfigDict, epoch: int) -> BoundMethod:
    """The method that trains an epoch, counted from 0; errors as in :func:`read_phases`."""
    return [phase.method for phase in read_phases(config) if phase.start <= epoch][-1]


def _is_switch(epoch: Any, text: Any) -> bool:
    return isinstance(epoch, int) and not isinstance(epoch, bool) and isinstance(text, str)


def convert_state(
    bound: BoundMethod, tx: optax.GradientTransformation, state: TrainState, num_steps: int
) -> TrainState:
    """Converts the state of the previous method to the new method's.

    Weights, BatchNorm statistics, the optimizer's state and the learning rate's schedule continue;
    the new method's own state is reinitialized.

    Args:
      bound: the new method.
      tx: its transformation.
      state: state of the previous method.
      num_steps: number of training steps taken.
    """
    params = bound.row.wrap_params(weights_of(state))
    leaves = jax.tree.leaves(state.opt_state, is_leaf=_is_optimizer)
    (kept,) = filter(_is_optimizer, leaves)
    opt_state = jax.tree.map(
        lambda leaf: kept if _is_optimizer(leaf) else leaf, tx.init(params), is_leaf=_is_optimizer
    )
    opt_state = _at_step(num_steps, bound.optimizer_calls, opt_state)
    return state._replace(params=params, opt_state=opt_state)


def _is_optimizer(tree: Any) -> bool:
    """Whether this is the state of ``optimizers.optimizer`` within a method's."""
    return isinstance(tree, dict) and optimizers.NAME in tree


def _at_step(num_steps: int, optimizer_calls: int, opt_state: optax.OptState) -> optax.OptState:
    """The state with schedules and policies at the given training step."""
    counters = {
        optax.ScaleByScheduleState: {"count": jnp.int32(num_steps * optimizer_calls)},
        PolicyState: {"step": jnp.int32(num_steps)},
    }

    def set_counter(tree: Any) -> Any:
        return tree._replace(**counters[type(tree)]) if type(tree) in counters else tree

    return jax.tree.map(set_counter, opt_state, is_leaf=lambda tree: type(tree) in counters)
