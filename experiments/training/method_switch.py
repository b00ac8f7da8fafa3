"""Changing the method in the middle of a run (Lookbehind-SAM, Figure 8)."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.methods import optimizers
from experiments.methods.table import method
from experiments.training.state import TrainState, weights_of
from optax_lookbehind import PolicyState


def methods_by_epoch(config: ConfigDict) -> list[str]:
    """The canonical string of each epoch's method, by ``config.method`` and ``config.switch``."""
    methods = [str(method(config.method))] * config.epochs
    for epoch, text in _checked(config.switch, config.epochs):
        methods[epoch:] = [str(method(text))] * (config.epochs - epoch)
    return methods


def _checked(switch: Sequence[Any], epochs: int) -> list[tuple[int, str]]:
    """The pairs of ``config.switch``, or a ValueError."""
    pairs = [tuple(pair) if isinstance(pair, (tuple, list)) else (pair,) for pair in switch]
    starts = [pair[0] for pair in pairs]
    if (
        any(len(pair) != 2 or not _is_switch(*pair) for pair in pairs)
        or sorted(set(starts)) != starts
        or not all(0 < start < epochs for start in starts)
    ):
        raise ValueError(
            "switch must be pairs (epochs, method), after how many epochs the method starts, "
            f"ascending and in [1, {epochs - 1}], such as ((100, 'lookbehind_sam:k=5'),); got "
            f"{tuple(switch)!r}."
        )
    return pairs


def _is_switch(epoch: Any, text: Any) -> bool:
    return isinstance(epoch, int) and not isinstance(epoch, bool) and isinstance(text, str)


def convert_state(
    tx: optax.GradientTransformation,
    wrap_params: Callable[[Any], optax.Params],
    optimizer_calls: int,
    state: TrainState,
    num_steps: int,
) -> TrainState:
    """Converts the state of the previous method to the new method's.

    Weights, BatchNorm statistics, the optimizer's state and the learning rate's schedule continue;
    the new method's own state is reinitialized.

    Args:
      tx: transformation of the new method.
      wrap_params: ``weights -> params`` of the new method, e.g. ``optax.LookaheadParams``.
      optimizer_calls: how often it calls the optimizer in a training step.
      state: state of the previous method.
      num_steps: number of training steps taken.
    """
    params = wrap_params(weights_of(state))
    leaves = jax.tree.leaves(state.opt_state, is_leaf=_is_optimizer)
    (kept,) = filter(_is_optimizer, leaves)
    opt_state = jax.tree.map(
        lambda leaf: kept if _is_optimizer(leaf) else leaf, tx.init(params), is_leaf=_is_optimizer
    )
    return state._replace(params=params, opt_state=_at_step(num_steps, optimizer_calls, opt_state))


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
