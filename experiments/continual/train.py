"""The training loop over the tasks of a stream."""

from collections.abc import Callable

from experiments.continual import results
from experiments.continual.setup import ContinualRun
from experiments.continual.step import ContinualState
from experiments.training.loggers import Logger
from experiments.training.loop import train_epoch
from experiments.training.metrics import Record, epoch_means


def train_stream(
    run: ContinualRun,
    state: ContinualState,
    history: list[Record],
    logger: Logger,
    save: Callable[[ContinualState, list[Record]], None],
) -> list[Record]:
    """Trains task after task to the last epoch, resuming after the epochs in ``history``.

    All tasks are evaluated after the last epoch of each.

    Returns:
      The metrics of all epochs.
    """
    first = len(history)
    for epoch in range(first, run.config.epochs):
        task = run.task_of(epoch)
        title = f"{run.title}, task {task + 1}/{run.stream.tasks}"
        logger.start_epoch(epoch + 1, title, compiles=epoch == first)
        state, step_metrics = train_epoch(run.step, state, run.batches(epoch), logger)
        task_is_over = run.task_of(epoch + 1) > task
        evaluation = evaluate(run, state) if task_is_over else {}
        record = epoch_means(epoch + 1, step_metrics, evaluation) | {"task": task + 1}
        history = [*history, record]
        logger.end_epoch(record)
        save(state, history)
    return history


def evaluate(run: ContinualRun, state: ContinualState) -> dict[str, list]:
    """Sums of the metrics over each evaluation batch, by the name of split and task."""
    return {
        results.metric(split, task): [
            run.evaluate(state, batch) for batch in run.evaluation_batches(split, task)
        ]
        for split in run.stream.evaluation
        for task in range(run.stream.tasks)
    }
