"""After which steps and epochs a run saves a checkpoint."""

from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from experiments.training.metrics import Record, check_finite, is_finished
from experiments.training.state import Metrics, State


def every(
    config: ConfigDict,
    save: Callable[..., None],
    steps: Callable[[int], int],
    interrupted: Callable[[], BaseException | None] = lambda: None,
) -> Callable[..., None]:
    """Saves after each ``save_every``-th epoch, ``save_every_steps``-th step and the last epoch.

    Args:
      config: the config with these keys.
      save: ``(state, history, step_metrics) -> None``.
      steps: ``(epochs) -> number of steps`` of the first so many epochs.
      interrupted: returns an exception if the run is to stop, which is raised after a checkpoint.

    Returns:
      A function with the arguments of ``save``, to be called after each step, and after each epoch
      without step metrics. It raises NotFiniteError rather than save after a loss that is not
      finite.
    """

    def is_due(history: list[Record], step: int) -> bool:
        epochs, is_last = len(history), is_finished(history, config.epochs)
        if step == 0 and (epochs % config.save_every == 0 or is_last):
            return True
        if config.save_every_steps is None:
            return False
        return (steps(epochs) + step) % config.save_every_steps == 0

    def save_some(
        state: State, history: list[Record], step_metrics: Sequence[Metrics] = ()
    ) -> None:
        epochs, step = len(history), len(step_metrics)
        if step and steps(epochs) + step == steps(epochs + 1):
            return  # the epoch has yet to be evaluated
        interruption = interrupted()
        if interruption is not None or is_due(history, step):
            check_finite(epochs + 1, step_metrics)
            save(state, history, step_metrics)
        if interruption is not None:
            raise interruption

    return save_some
