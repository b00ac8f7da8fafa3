"""The compiled functions of a run, made of its task, its methods and its devices."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict

from experiments.methods.method import BoundMethod
from experiments.methods.optimizers import BaseOptimizer
from experiments.parallel.mesh import state_sharding, to_devices
from experiments.parallel.microbatches import Parts
from experiments.tasks.base import Batch, Task
from experiments.tasks.continual.learners import title
from experiments.training.phases import MethodPhase, convert_state
from experiments.training.state import Metrics, TrainState
from experiments.training.step import StepConfig, evaluate, evaluation_model, train_step
from experiments.training.transformations import constrain_gradients, skip_nonfinite

Tree = TypeVar("Tree")
Load = Callable[[nnx.Module], None]  # fills pretrained weights into a model

_STEPS = 1 << 31  # fold_in constant that separates the keys of the steps from those of the weights


class Phase(NamedTuple):
    """The compiled functions for the epochs that one method trains.

    Attributes:
      start: the first of these epochs, from 0.
      title: name of the method.
      init: ``(key, load=None) -> TrainState``, a state before the first step; ``load`` fills
        pretrained weights into the model.
      enter: ``(state, num_steps) -> TrainState``, converts the state that the method before left
        after that many training steps.
      step: ``(state, batch) -> (state, metrics)``; the given state is donated.
    """

    start: int
    title: str
    init: Callable[..., TrainState]
    enter: Callable[[TrainState, int], TrainState]
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


class Trainer(NamedTuple):
    """The compiled functions of a run.

    Attributes:
      epochs: number of epochs.
      phases: those of each method, in the order of their epochs.
      evaluate: ``(state, batch) -> summed metrics``.
      measure: ``(state) -> metrics`` of whole splits at the end of a run; None for none.
      score: name of the metric of ``evaluate`` by which epochs and runs are compared.
      sharding: ``(array) -> NamedSharding`` of each array of the state.
    """

    epochs: int
    phases: Sequence[Phase]
    evaluate: Callable[[TrainState, Batch], Metrics]
    measure: Callable[[TrainState], Mapping[str, float] | None]
    score: str
    sharding: Callable[[Any], NamedSharding]

    @property
    def title(self) -> str:
        """The names of the methods."""
        return " then ".join(dict.fromkeys(phase.title for phase in self.phases))

    def phase(self, epoch: int) -> Phase:
        """The phase of an epoch, counted from 0."""
        return [phase for phase in self.phases if phase.start <= epoch][-1]

    def init(self, key: jax.Array, load: Load | None = None) -> TrainState:
        """The state before the first step; ``load`` fills pretrained weights into the model."""
        return self.phases[0].init(key, load)

    def abstract_state(self, epochs: int = 1) -> TrainState:
        """Shapes, types and shardings of the state in the last of that many epochs."""
        state = jax.eval_shape(self.phase(epochs - 1).init, jax.random.key(0))
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.sharding(x)), state
        )


def make_trainer(
    config: ConfigDict,
    task: Task,
    total_steps: int,
    phases: Sequence[MethodPhase],
    base: BaseOptimizer,
    parts: Parts,
    mesh: Mesh,
) -> Trainer:
    """Returns the trainer of a run.

    Args:
      config: with ``epochs``, ``seed``, ``shard_weights``, ``skip_nonfinite`` and ``patience``.
      task: model, loss and evaluation.
      total_steps: number of training steps of the run.
      phases: the methods.
      base: the base optimizer.
      parts: the independently perturbed parts of a batch.
      mesh: the devices.
    """
    graphdef = nnx.graphdef(nnx.eval_shape(task.make_model, jax.random.key(0)))
    shard_weights = config.shard_weights
    sharding = partial(state_sharding, mesh, shard_weights)
    keeps_best = config.patience is not None

    def constrain(tree: Tree) -> Tree:
        if not shard_weights:
            return tree
        return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, sharding(x)), tree)

    def place(make: Callable[..., TrainState], key: jax.Array, load: Load | None) -> TrainState:
        if shard_weights and load is None:  # no device needs to hold all weights
            shardings = jax.tree.map(sharding, jax.eval_shape(make, key))
            return jax.jit(make, out_shardings=shardings)(key)
        # Not compiled: compiling takes longer than running it op by op.
        state = make(key, load)
        return to_devices(state, jax.tree.map(sharding, state))

    def make_phase(start: int, bound: BoundMethod) -> Phase:
        tx = optax.with_extra_args_support(
            bound.build(base, total_steps, seed=config.seed, axis_name=parts.axis_name)
        )
        if shard_weights:
            tx = constrain_gradients(tx, constrain)
        if config.skip_nonfinite:
            tx = skip_nonfinite(tx, config.skip_nonfinite)
        step_config = StepConfig(
            task, graphdef, tx, bound.minibatches, bound.example_fraction, parts
        )

        def sharded_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
            new_state, metrics = train_step(step_config, state, batch)
            return constrain(new_state), metrics

        step = sharded_step if shard_weights else partial(train_step, step_config)

        make_state = partial(_make_state, task, bound, tx, keeps_best)

        def enter(state: TrainState, num_steps: int) -> TrainState:
            return constrain(convert_state(bound, tx, state, num_steps))

        return Phase(
            start,
            title(config, bound),
            init=lambda key, load=None: place(make_state, key, load),
            enter=jax.jit(enter),
            step=jax.jit(step, donate_argnums=0),
        )

    return Trainer(
        config.epochs,
        [make_phase(start, bound) for start, bound in phases],
        evaluate=jax.jit(partial(evaluate, task, graphdef)),
        measure=lambda state: task.measure(evaluation_model(graphdef, state)),
        score=task.score,
        sharding=sharding,
    )


def _make_state(
    task: Task,
    bound: BoundMethod,
    tx: optax.GradientTransformation,
    keeps_best: bool,
    key: jax.Array,
    load: Load | None = None,
) -> TrainState:
    """A state before the first step, on the default device."""
    model = task.make_model(key)
    if load is not None:
        load(model)
    _, weights, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)  # type: ignore[misc]
    params = bound.row.wrap_params(weights)
    step_key = jax.random.fold_in(key, _STEPS)
    state = TrainState(params, batch_stats, tx.init(params), step_key, memory=task.make_memory())
    if not keeps_best:
        return state
    return state._replace(best=jax.tree.map(jnp.copy, state))  # a step donates the state
