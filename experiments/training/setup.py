"""A run as functions made from its config, and the loop over steps that calls them."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import optax
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from experiments.configs.validation import check_ranges
from experiments.data import Dataset, Examples
from experiments.data import pipeline as feeds
from experiments.data.pipeline import Facts
from experiments.methods.table import method
from experiments.parallel.mesh import make_mesh
from experiments.parallel.microbatches import axis, check_parts, on_each_part
from experiments.tasks.base import Task
from experiments.tasks.classification import classification
from experiments.training import metrics
from experiments.training.method_switch import adopt
from experiments.training.state import Metrics, TrainState
from experiments.training.step import StepConfig, evaluate, train_step

_AUGMENTATION = 1 << 31  # sets the key of these draws apart from those of the initial weights


class Program(NamedTuple):
    """The functions of a run: pure, so that they can be compiled, and mapped over seeds.

    Attributes:
      init: key, and optionally what is done to the new model, to initial state.
      adopt: the state that another method left, and the number of steps taken, to the state from
        which this one goes on.
      order: key and epoch to the epoch's batches, as indices ``[step, example]``.
      step: state and what the feed has for the step to state and metrics.
      evaluate: state and a batch of the test set to sums of metrics.
    """

    init: Callable[..., TrainState]
    adopt: Callable[[TrainState, int], TrainState]
    order: Callable[[jax.Array, int], jax.Array]
    step: Callable[..., tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, Examples], Metrics]


class Epoch(NamedTuple):
    """What an epoch leaves behind, on the device.

    Attributes:
      state: the state after it, valid until the next epoch is asked for.
      train: the metrics of each step.
      test: sums of the metrics over each batch of the test set.
    """

    state: TrainState
    train: list[Metrics]
    test: list[Metrics]


def make_program(config: ConfigDict, dataset: Dataset) -> Program:
    """The program for a data set in memory on one device; errors as in ``build_program``."""
    return build_program(config, feeds.facts_of(dataset), feeds.select_rows, make_mesh(1))


def build_program(
    config: ConfigDict, facts: Facts, select: Callable[..., Examples], mesh: Mesh
) -> Program:
    """Builds model and method.

    Raises:
      ValueError: if a name in the config is unknown or a value out of range.
    """
    check_ranges(config)
    check_parts(config, mesh)
    steps = feeds.steps_per_epoch(config, facts.examples)
    chosen = method(config.method)
    tx = chosen.build(config, config.epochs * steps)
    if config.skip_nonfinite:
        # Behind the method, where gradients at perturbed weights have had their say.
        guard = optax.apply_if_finite(optax.identity(), config.skip_nonfinite)
        tx = optax.chain(tx, guard)
    tx = optax.with_extra_args_support(tx)
    task = make_task(config, facts)
    graphdef = nnx.graphdef(nnx.eval_shape(task.make_model, jax.random.key(0)))
    step_config = StepConfig(
        task,
        graphdef,
        tx,
        on_each_part=partial(on_each_part, config, mesh),
        parts=axis(config),
        gamma=chosen.example_fraction,
        max_skips=config.skip_nonfinite,
    )

    def init(key: jax.Array, load: Callable[[nnx.Module], None] | None = None) -> TrainState:
        model = task.make_model(key)
        if load is not None:
            load(model)
        _, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
        params = chosen.row.wrap_params(params)
        draws = jax.random.fold_in(key, _AUGMENTATION)
        return TrainState(params, batch_stats, tx.init(params), draws)

    def step(state: TrainState, *arguments: Examples | jax.Array) -> tuple[TrainState, Metrics]:
        return train_step(step_config, state, select(*arguments))

    return Program(
        init=init,
        adopt=partial(adopt, tx, chosen.row.wrap_params, chosen.optimizer_calls),
        order=partial(feeds.shuffled, config, facts.examples),
        step=step,
        evaluate=partial(evaluate, task, graphdef),
    )


def make_task(config: ConfigDict, facts: Facts) -> Task:
    """The task of a run on images."""
    return classification(
        config.model,
        facts.image_shape,
        facts.num_classes,
        facts.mean,
        facts.std,
        dtype=config.dtype,
        label_smoothing=config.label_smoothing,
        augment=facts.augment if config.augment is None else config.augment,
    )


def compiled(program: Program) -> Program:
    """The same program with its heavy functions compiled.

    A step reuses the memory of the state it is given. Initial weights are made op by op: compiling
    that takes longer than doing it.
    """
    return program._replace(
        adopt=jax.jit(program.adopt),
        step=jax.jit(program.step, donate_argnums=0),
        evaluate=jax.jit(program.evaluate),
    )


def keys(seed: int) -> tuple[jax.Array, jax.Array]:
    """The keys of the initial state and of the order of the examples."""
    return tuple(jax.random.split(jax.random.key(seed)))


def take_steps(
    program: Program,
    state: TrainState,
    batches: Iterable[tuple],
    watch: Callable[[list[Metrics]], None] = lambda so_far: None,
) -> tuple[TrainState, list[Metrics]]:
    """Trains on the batches. Waits for the device nowhere, unless ``watch`` does.

    Args:
      program: the compiled program.
      state: used up.
      batches: what a step takes besides the state.
      watch: called after each step with the metrics of all steps so far.

    Returns:
      The state after the last step and the metrics of each, on their way to the host.
    """
    so_far = []
    for batch in batches:
        with jax.transfer_guard("disallow"):
            state, step_metrics = program.step(state, *batch)
        for value in step_metrics.values():
            value.copy_to_host_async()
        so_far.append(step_metrics)
        watch(so_far)
    return state, so_far


def run_epochs(program: Program, dataset: Dataset, seed: int, epochs: int) -> Iterator[Epoch]:
    """Trains on one device from a fresh start and yields after each epoch."""
    train, test = jax.device_put((dataset.train, dataset.test))
    init_key, order_key = keys(seed)
    state = program.init(init_key)
    for epoch in range(epochs):
        batches = [(train, rows) for rows in program.order(order_key, epoch)]
        state, of_steps = take_steps(program, state, batches)
        yield Epoch(state, of_steps, [program.evaluate(state, test)])


def fetch_metrics(epoch: Epoch) -> dict[str, float]:
    """The epoch's metrics as numbers. Waits for the epoch to finish."""
    return metrics.of_epoch(epoch.train, epoch.test)
