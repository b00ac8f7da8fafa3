"""From the metrics of single steps and batches, on the device, to an epoch's numbers."""

from collections.abc import Sequence

import jax
import numpy as np

from experiments.training.state import Metrics


class NotFiniteError(ValueError):
    """A loss became infinite or NaN; ``step`` of the epoch says where first, from 1."""

    def __init__(self, loss: float, step: int):
        super().__init__(f"the loss is {loss} at step {step} of the epoch")
        self.loss, self.step = loss, step


class NoStepError(ValueError):
    """All steps of an epoch were left out: there is nothing to take means of."""

    def __init__(self, steps: int):
        super().__init__(f"all {steps} steps of the epoch were left out")


def of_epoch(train: Sequence[Metrics], test: Sequence[Metrics]) -> dict[str, float]:
    """Means over the steps and over the test set. Waits for the device.

    Args:
      train: the metrics of each step. Where steps may be skipped, the mean is over the others,
        and their number is a metric itself.
      test: for each batch of the test set, sums of the metrics and the number of examples.

    Raises:
      NotFiniteError: if a step was taken with a loss that is not a number, or infinite.
      NoStepError: if no step was taken.
    """
    train, test = jax.device_get((list(train), list(test)))
    steps = {name: np.array([step[name] for step in train]) for name in train[0]}
    skipped = steps.pop("skipped", None)
    taken = np.ones(len(train), bool) if skipped is None else ~skipped
    if not taken.any():
        raise NoStepError(len(train))
    means = {f"train_{name}": values[taken].mean().item() for name, values in steps.items()}
    if skipped is not None:
        means["skipped"] = int(skipped.sum())
    sums = {name: sum(batch[name] for batch in test) for name in test[0]}
    examples = sums.pop("examples")
    # The last step's update shows in the test loss only.
    _check_finite(steps["loss"], taken, sums["loss"] / examples)
    return means | {f"test_{name}": (total / examples).item() for name, total in sums.items()}


def _check_finite(losses: np.ndarray, taken: np.ndarray, test_loss: float) -> None:
    for step in np.flatnonzero(taken & ~np.isfinite(losses)):
        raise NotFiniteError(losses[step].item(), int(step) + 1)
    if not np.isfinite(test_loss):
        raise NotFiniteError(test_loss, len(losses))
