"""The training loop of the command, the demo and the tests."""

from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp

from experiments.data.pipeline import Pipeline
from experiments.tasks.base import Batch
from experiments.training.loggers import Logger, NullLogger
from experiments.training.metrics import (
    Record,
    best_epoch,
    epoch_means,
    evaluation_means,
    is_finished,
)
from experiments.training.state import Metrics, State, TrainState
from experiments.training.trainer import Trainer

Save = Callable[[TrainState, list[Record], Sequence[Metrics]], None]

_LOG_STEPS = 20  # steps between two updates of the progress


def train(
    trainer: Trainer,
    pipeline: Pipeline,
    state: TrainState,
    history: Sequence[Record] = (),
    step_metrics: Sequence[Metrics] = (),
    *,
    eval_every: int = 1,
    patience: int | None = None,
    logger: Logger | None = None,
    save: Save = lambda state, history, step_metrics: None,
) -> tuple[TrainState, list[Record]]:
    """Trains to the last epoch, resuming after those in ``history`` and the steps after them.

    With ``patience``, training stops early when the validation score has not improved for that many
    epochs. At the end the state of the best epoch is restored, and the test set evaluated with it,
    for the first time.

    Args:
      trainer: the compiled functions.
      pipeline: the data.
      state: state after these epochs and steps; donated.
      history: metrics of the finished epochs.
      step_metrics: metrics of the finished steps of the next epoch.
      eval_every: number of epochs from one evaluation to the next; after the last epoch there is
        one in any case.
      patience: number of epochs without improvement before training stops; None: no early stopping.
      logger: is informed of the progress.
      save: ``(state, history, step_metrics)``, called after each step, and after each epoch
        without step metrics.

    Returns:
      The last state and the metrics of all epochs.

    Raises:
      NotFiniteError: if the loss becomes infinite or NaN.
      AllStepsSkippedError: if all steps of an epoch were skipped.
    """
    logger = logger or NullLogger()
    first, history = len(history), list(history)
    state, best = state._replace(best=None), state.best
    if is_finished(history, trainer.epochs):
        return state, history
    # With early stopping nothing but the validation set decides.
    splits = [name for name in pipeline.evaluation if patience is None or name != "test"]
    epochs = pipeline.train(first, len(step_metrics))
    for epoch, batches in zip(range(first, trainer.epochs), epochs, strict=False):
        phase = trainer.phase(epoch)
        is_switched = epoch == phase.start > 0
        if is_switched and not step_metrics:  # otherwise it was, before the checkpoint
            state = phase.enter(state, pipeline.steps(epoch))
        compiles = epoch == first or is_switched
        logger.start_epoch(epoch + 1, phase.title, compiles, first_step=len(step_metrics))
        state, step_metrics = train_epoch(
            phase.step,
            state,
            batches,
            logger,
            step_metrics,
            save=_after_epochs(save, history, best),
        )
        is_last = epoch + 1 == trainer.epochs
        is_evaluated = is_last or (epoch + 1) % eval_every == 0
        evaluation = _evaluate(trainer, pipeline, state, splits if is_evaluated else ())
        record = epoch_means(epoch + 1, step_metrics, evaluation)
        history, step_metrics = [*history, record], ()
        if patience is not None and is_evaluated:
            best_record = best_epoch(history, f"val_{trainer.score}")
            if best_record is record:
                best = jax.tree.map(jnp.copy, state)  # the next step donates the state
            is_last |= epoch + 1 - best_record["epoch"] >= patience
            if is_last:
                assert best is not None  # the first evaluated epoch was the best then
                state = best
                record["best_epoch"] = best_record["epoch"]
                record |= evaluation_means(_evaluate(trainer, pipeline, state, ["test"]))
        if is_last:
            record |= trainer.measure(state) or {}
        logger.end_epoch(record)
        save(state._replace(best=best), history, step_metrics)
        if is_last:
            break
    return state, history


def _evaluate(
    trainer: Trainer, pipeline: Pipeline, state: TrainState, splits: Iterable[str]
) -> dict[str, list[Metrics]]:
    """Sums of the metrics over each batch of those splits that the pipeline has."""
    return {
        split: [trainer.evaluate(state, batch) for batch in pipeline.evaluation[split]()]
        for split in splits
        if split in pipeline.evaluation
    }


def _after_epochs(
    save: Save, history: list[Record], best: TrainState | None
) -> Callable[[TrainState, Sequence[Metrics]], None]:
    return lambda state, step_metrics: save(state._replace(best=best), history, step_metrics)


def train_epoch(
    step: Callable[[State, Batch], tuple[State, Metrics]],
    state: State,
    batches: Iterable[Batch],
    logger: Logger | None = None,
    step_metrics: Sequence[Metrics] = (),
    save: Callable[[State, Sequence[Metrics]], None] = lambda state, step_metrics: None,
) -> tuple[State, list[Metrics]]:
    """Trains on the batches of an epoch.

    Args:
      step: the compiled step, ``(state, batch) -> (state, metrics)``.
      state: state before these batches; donated.
      batches: the batches, on the devices.
      logger: is informed of the progress.
      step_metrics: metrics of the steps before these batches, of the same epoch.
      save: ``(state, step_metrics)``, called after each step.

    Returns:
      The state after the last step, and the metrics of each step, on their way to the host.
    """
    logger = logger or NullLogger()
    taken = list(step_metrics)
    for number, batch in enumerate(batches, start=1):
        with jax.transfer_guard("disallow"):  # raises on implicit transfers to or from the host
            state, metrics = step(state, batch)
        for value in metrics.values():
            value.copy_to_host_async()
        taken.append(metrics)
        if number == 1:
            logger.log_first_step()
        if number % _LOG_STEPS == 0 and number > _LOG_STEPS:
            # Waits for an earlier step, which bounds how far the host runs ahead of the device.
            logger.log_steps(_LOG_STEPS, jax.device_get(taken[-_LOG_STEPS]))
        save(state, taken)
    jax.block_until_ready(taken[-1:])
    logger.end_steps()
    return state, taken
