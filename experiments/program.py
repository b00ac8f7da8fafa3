"""A run as four functions made from its config, and the loop over epochs that calls them."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from ml_collections import ConfigDict

from experiments import data, models
from experiments.data import Dataset, Examples
from experiments.methods import method
from experiments.steps import Metrics, Task, TrainState, evaluate, train_step


class Program(NamedTuple):
    """The functions of a run: pure, so that they can be compiled, and mapped over seeds.

    Attributes:
      init: key to initial state.
      order: key and epoch to the epoch's batches, as indices ``[step, example]``.
      step: state, training set and one row of indices to state and metrics.
      evaluate: state and test set to metrics.
    """

    init: Callable[[jax.Array], TrainState]
    order: Callable[[jax.Array, int], jax.Array]
    step: Callable[[TrainState, Examples, jax.Array], tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, Examples], Metrics]


class Epoch(NamedTuple):
    """What an epoch leaves behind, on the device.

    Attributes:
      state: the state after it, valid until the next epoch is asked for.
      train: the metrics of each step.
      test: the metrics on the test set.
    """

    state: TrainState
    train: list[Metrics]
    test: Metrics


def make_dataset(config: ConfigDict) -> Dataset:
    """Loads the config's data set, with its validation split and label noise."""
    dataset = data.hold_out(data.load(config.dataset), config.validation)
    return data.flip_labels(dataset, config.label_noise, config.noise_seed)


def steps_per_epoch(config: ConfigDict, dataset: Dataset) -> int:
    """Number of whole batches in the training set."""
    examples = len(dataset.train.labels)
    if not 1 <= config.batch_size <= examples:
        raise ValueError(f"batch_size must be in [1, {examples}], got {config.batch_size}.")
    return examples // config.batch_size


def make_program(config: ConfigDict, dataset: Dataset) -> Program:
    """Builds model and method.

    Raises:
      ValueError: if a name in the config is unknown or a value out of range.
    """
    if config.epochs < 1:
        raise ValueError(f"epochs must be >= 1, got {config.epochs}.")
    steps = steps_per_epoch(config, dataset)
    examples, channels = len(dataset.train.labels), dataset.train.images.shape[-1]
    how = method(config.method)
    tx = optax.with_extra_args_support(how.build(config, config.epochs * steps))

    def new_model(key: jax.Array) -> nnx.Module:
        return models.build(config.model, dataset.num_classes, channels, rngs=nnx.Rngs(key))

    def init(key: jax.Array) -> TrainState:
        _, params, batch_stats = nnx.split(new_model(key), nnx.Param, nnx.BatchStat)
        params = how.prepare(params)
        return TrainState(params, batch_stats, tx.init(params))

    def order(key: jax.Array, epoch: int) -> jax.Array:
        shuffled = jax.random.permutation(jax.random.fold_in(key, epoch), examples)
        return shuffled[: steps * config.batch_size].reshape(steps, config.batch_size)

    task = Task(
        graphdef=nnx.graphdef(nnx.eval_shape(new_model, jax.random.key(0))),
        tx=tx,
        preprocess=lambda images: (images - dataset.mean) / dataset.std,
        gamma=config.gamma if how.selects_examples else None,
    )

    def step(state: TrainState, train: Examples, rows: jax.Array) -> tuple[TrainState, Metrics]:
        return train_step(task, state, Examples(train.images[rows], train.labels[rows]))

    return Program(init, order, step, partial(evaluate, task))


def compiled(program: Program) -> Program:
    """The same program with its heavy functions compiled.

    A step reuses the memory of the state it is given. Initial weights are made op by op: compiling
    that takes longer than doing it.
    """
    return program._replace(
        step=jax.jit(program.step, donate_argnums=0), evaluate=jax.jit(program.evaluate)
    )


def run_epochs(program: Program, dataset: Dataset, seed: int, epochs: int) -> Iterator[Epoch]:
    """Trains from a fresh start and yields after each epoch. Waits for the device nowhere."""
    train, test = jax.device_put((dataset.train, dataset.test))
    init_key, order_key = jax.random.split(jax.random.key(seed))
    state = program.init(init_key)
    for epoch in range(epochs):
        batches = list(program.order(order_key, epoch))
        metrics = []
        with jax.transfer_guard("disallow"):
            for rows in batches:
                state, step_metrics = program.step(state, train, rows)
                metrics.append(step_metrics)
        yield Epoch(state, metrics, program.evaluate(state, test))


def fetch_metrics(epoch: Epoch) -> dict[str, float]:
    """The epoch's metrics as numbers, over the steps their mean. Waits for the epoch to finish."""
    train, test = jax.device_get((epoch.train, epoch.test))
    means = {f"train_{name}": np.mean([m[name] for m in train]).item() for name in test}
    return means | {f"test_{name}": value.item() for name, value in test.items()}
