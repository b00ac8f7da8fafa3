"""The training loop, the only one: of the command, the demo, the ablations and the tests."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding

from experiments.data.pipeline import Pipeline
from experiments.tasks.base import Batch
from experiments.training.loggers import Logger, NullLogger
from experiments.training.metrics import Record, epoch_means
from experiments.training.state import Metrics, State, TrainState

_LOG_STEPS = 20  # steps between two updates of the progress


class Trainer(NamedTuple):
    """The compiled functions that train with one method.

    Attributes:
      title: name of the method.
      init: ``(key, load=None) -> TrainState``; ``load`` fills pretrained weights into the model.
      switch_method: ``(state, num_steps) -> TrainState``, converts the state that another method
        left after that many training steps.
      step: ``(state, batch) -> (state, metrics)``; the given state is donated.
      evaluate: ``(state, batch) -> summed metrics``.
      measure: ``(state) -> metrics`` of whole splits at the end of a run; None for none.
      score: name of the metric of ``evaluate`` by which epochs and runs are compared.
      sharding: ``(array) -> NamedSharding`` of each array of the state.
    """

    title: str
    init: Callable[..., TrainState]
    switch_method: Callable[[TrainState, int], TrainState]
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, Batch], Metrics]
    measure: Callable[[TrainState], Mapping[str, float] | None]
    score: str
    sharding: Callable[[Any], NamedSharding]


def train(
    trainers: Sequence[Trainer],
    pipeline: Pipeline,
    state: TrainState,
    history: Sequence[Record] = (),
    *,
    eval_every: int = 1,
    logger: Logger | None = None,
    save: Callable[[TrainState, list[Record]], None] = lambda state, history: None,
) -> tuple[TrainState, list[Record]]:
    """Trains to the last epoch, resuming after the epochs in ``history``.

    Args:
      trainers: the trainer of each epoch.
      pipeline: the data.
      state: state after the epochs in ``history``; donated.
      history: metrics of the finished epochs.
      eval_every: number of epochs from one evaluation to the next; after the last epoch there is
        one in any case.
      logger: is informed of the progress.
      save: called after each epoch.

    Returns:
      The last state and the metrics of all epochs.

    Raises:
      NotFiniteError: if the loss becomes infinite or NaN.
      AllStepsSkippedError: if all steps of an epoch were skipped.
    """
    logger = logger or NullLogger()
    first, history = len(history), list(history)
    for epoch, batches in zip(range(first, len(trainers)), pipeline.train(first), strict=False):
        trainer = trainers[epoch]
        if epoch and trainer is not trainers[epoch - 1]:
            state = trainer.switch_method(state, epoch * pipeline.steps_per_epoch)
        compiles = epoch == first or trainer is not trainers[epoch - 1]
        logger.start_epoch(epoch + 1, trainer.title, compiles)
        state, step_metrics = train_epoch(trainer.step, state, batches, logger)
        is_last = epoch + 1 == len(trainers)
        evaluation = {}
        if is_last or (epoch + 1) % eval_every == 0:
            evaluation = {
                split: [trainer.evaluate(state, batch) for batch in eval_batches()]
                for split, eval_batches in pipeline.evaluation.items()
            }
        record = epoch_means(epoch + 1, step_metrics, evaluation)
        if is_last:
            record |= trainer.measure(state) or {}
        history = [*history, record]
        logger.end_epoch(record)
        save(state, history)
    return state, history


def train_epoch(
    step: Callable[[State, Batch], tuple[State, Metrics]],
    state: State,
    batches: Iterable[Batch],
    logger: Logger | None = None,
) -> tuple[State, list[Metrics]]:
    """Trains on the batches of an epoch.

    Args:
      step: the compiled step, ``(state, batch) -> (state, metrics)``.
      state: state before the epoch; donated.
      batches: the batches, on the devices.
      logger: is informed of the progress.

    Returns:
      The state after the last step, and the metrics of each step, on their way to the host.
    """
    logger = logger or NullLogger()
    step_metrics = []
    for batch in batches:
        with jax.transfer_guard("disallow"):  # raises on implicit transfers to or from the host
            state, metrics = step(state, batch)
        for value in metrics.values():
            value.copy_to_host_async()
        step_metrics.append(metrics)
        if len(step_metrics) == 1:
            logger.log_first_step()
        if len(step_metrics) % _LOG_STEPS == 0 and len(step_metrics) > _LOG_STEPS:
            # Waits for an earlier step, which bounds how far the host runs ahead of the device.
            logger.log_steps(_LOG_STEPS, jax.device_get(step_metrics[-_LOG_STEPS]))
    jax.block_until_ready(step_metrics[-1:])
    logger.end_steps()
    return state, step_metrics
