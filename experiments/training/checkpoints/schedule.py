"""After which epochs and steps a checkpoint is written."""

from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from experiments.training.metrics import Record, check_finite
from experiments.training.state import Metrics, State


def every(
    config: ConfigDict, save: Callable[..., None], steps_per_epoch: int | None = None
) -> Callable[..., None]:
    """Saves after each ``save_every``-th epoch, ``save_every_steps``-th step and the last epoch.

    Args:
      config: the config with these keys.
      save: ``(state, history, step_metrics) -> None``.
      steps_per_epoch: number of steps of an epoch, for checkpoints within one.

    Returns:
      A function with the arguments of ``save``, to be called after each step, and after each epoch
      without step metrics. It raises NotFiniteError rather than save after a loss that is not
      finite.
    """
    epoch_interval, step_interval = config.save_every, config.save_every_steps
    last = config.epochs

    def is_due(epochs: int, steps: int) -> bool:
        if steps == steps_per_epoch:
            return False  # the epoch has yet to be evaluated
        if steps == 0 and (epochs % epoch_interval == 0 or epochs == last):
            return True
        if step_interval is None or steps_per_epoch is None:
            return False
        return (epochs * steps_per_epoch + steps) % step_interval == 0

    def save_some(
        state: State, history: list[Record], step_metrics: Sequence[Metrics] = ()
    ) -> None:
        if is_due(len(history), len(step_metrics)):
            check_finite(len(history) + 1, step_metrics)
            save(state, history, step_metrics)

    return save_some
