"""Names of the metrics, and the reduction of step metrics to the numbers of an epoch."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.training.state import Metrics

Record = dict[str, float]  # the metrics of an epoch, a line of metrics.jsonl


class Metric(NamedTuple):
    """A row of the table below.

    Attributes:
      label: name in tables, figures and summaries.
      unit: unit after scaling.
      scale: factor from the logged value to the unit.
      higher_is_better: whether larger values are better.
    """

    label: str
    unit: str = ""
    scale: float = 1.0
    higher_is_better: bool = False

    @property
    def heading(self) -> str:
        """Label and unit, for an axis or a column."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def text(self, value: float) -> str:
        """The value in the metric's unit."""
        if self.unit == "%":
            return f"{self.scale * value:.2f}%"
        return f"{self.scale * value:.4g}"


def _percent(label: str, higher_is_better: bool = True) -> Metric:
    return Metric(label, "%", 100.0, higher_is_better)


METRICS: Mapping[str, Metric] = {
    "train_loss": Metric("training loss"),
    "train_accuracy": _percent("training accuracy"),
    "val_loss": Metric("validation loss"),
    "val_accuracy": _percent("validation accuracy"),
    "test_loss": Metric("test loss"),
    "test_accuracy": _percent("test accuracy"),
    "train_mae": Metric("training MAE"),
    "val_mse": Metric("validation MSE"),
    "val_mae": Metric("validation MAE"),
    "test_mse": Metric("test MSE"),
    "test_mae": Metric("test MAE"),
    "attention_entropy": Metric("entropy of the attention, nats"),
    "val_bleu": Metric("validation BLEU", higher_is_better=True),
    "val_chrf": Metric("validation chrF2", higher_is_better=True),
    "test_bleu": Metric("test BLEU", higher_is_better=True),
    "test_chrf": Metric("test chrF2", higher_is_better=True),
    "train_applied": _percent("sharpness-aware steps", higher_is_better=False),
    "train_mu": Metric("running mean of $|g|^2$"),
    "train_sigma": Metric("running deviation of $|g|^2$"),
    "train_threshold": Metric("threshold for $|g|^2$"),
    "train_alpha": Metric("Lookbehind's alpha"),
    "train_sharpness": Metric("sharpness"),
    "skipped": Metric("skipped steps"),
}


class NotFiniteError(ValueError):
    """The loss became infinite or NaN, in this step of this epoch, both counted from 1."""

    def __init__(self, loss: float, epoch: int, step: int):
        super().__init__(f"the loss is {loss} at step {step} of epoch {epoch}")


class AllStepsSkippedError(ValueError):
    """All steps of an epoch were skipped: there is nothing to take means of."""

    def __init__(self, num_steps: int, epoch: int):
        super().__init__(f"all {num_steps} steps of epoch {epoch} were skipped as not finite")


def advice(error: NotFiniteError | AllStepsSkippedError) -> str:
    """A sentence with advice for another run."""
    skip = ", or skip such steps with skip_nonfinite" if isinstance(error, NotFiniteError) else ""
    return f"Try a smaller learning_rate or rho in another --workdir{skip}."


def epoch_means(
    epoch: int, steps: Sequence[Metrics], evaluation: Mapping[str, Sequence[Metrics]]
) -> Record:
    """Means over the steps of an epoch and over the evaluation sets. Waits for the device.

    Args:
      epoch: number of the epoch, from 1.
      steps: the metrics of each training step. If steps may be skipped, the mean is over the
        others, and their number is a metric itself.
      evaluation: split -> sums of the metrics over each batch, and the number of examples.

    Raises:
      NotFiniteError: if a step was taken with a loss that is infinite or NaN, or an evaluation
        after the last one gives such a loss.
      AllStepsSkippedError: if no step was taken.
    """
    steps = jax.device_get(list(steps))
    values = {name: np.array([step[name] for step in steps]) for name in steps[0]}
    skipped = values.pop("skipped", None)
    taken = np.ones(len(steps), bool) if skipped is None else ~skipped
    if not taken.any():
        raise AllStepsSkippedError(len(steps), epoch)
    check_finite(epoch, steps)
    # NaN where a step has no such metric: the sharpness of plain steps.
    values = {name: x[taken & ~np.isnan(x)] for name, x in values.items()}
    means = {f"train_{name}": x.mean().item() for name, x in values.items() if x.size}
    record = {"epoch": epoch} | means
    if skipped is not None:
        record["skipped"] = int(skipped.sum())
    evaluated = evaluation_means(evaluation)
    # The update of the last step shows only here.
    for value in evaluated.values():
        if not np.isfinite(value):
            raise NotFiniteError(value, epoch, len(steps))
    return record | evaluated


def evaluation_means(evaluation: Mapping[str, Sequence[Metrics]]) -> Record:
    """Means over the evaluation sets, as in :func:`epoch_means`. Waits for the device."""
    return {
        f"{split}_{name}": mean
        for split, batches in jax.device_get(dict(evaluation)).items()
        for name, mean in _means(batches).items()
    }


def check_finite(epoch: int, steps: Sequence[Metrics]) -> None:
    """Raises NotFiniteError if a step was taken with a loss that is infinite or NaN.

    Arguments as for :func:`epoch_means`. Waits for the device.
    """
    for number, step in enumerate(jax.device_get(list(steps)), start=1):
        if not (np.isfinite(step["loss"]) or step.get("skipped", False)):
            raise NotFiniteError(step["loss"].item(), epoch, number)


def steps_to_json(steps: Sequence[Metrics]) -> dict[str, Any]:
    """The metrics of steps as JSON, to the bit: name -> type and values. Waits for the device."""
    steps = jax.device_get(list(steps))
    columns = {name: np.array([step[name] for step in steps]) for name in (steps or [{}])[0]}
    return {name: {"dtype": x.dtype.name, "values": x.tolist()} for name, x in columns.items()}


def steps_from_json(columns: Mapping[str, Any]) -> list[Metrics]:
    """The inverse of :func:`steps_to_json`."""
    arrays = {name: np.array(x["values"], x["dtype"]) for name, x in columns.items()}
    number = max(map(len, arrays.values()), default=0)
    return [{name: x[step] for name, x in arrays.items()} for step in range(number)]


def _means(batches: Sequence[Metrics]) -> Record:
    sums = {name: sum(batch[name] for batch in batches) for name in batches[0]}
    examples = sums.pop("examples")
    return {name: float(total / examples) for name, total in sums.items()}


def best_epoch(history: Sequence[Record], name: str) -> Record:
    """The metrics of the first epoch with the best value of the named metric."""
    sign = 1 if METRICS[name].higher_is_better else -1
    evaluated = [record for record in history if name in record]
    return max(evaluated, key=lambda record: sign * record[name])


def is_finished(history: Sequence[Record], epochs: int) -> bool:
    """Whether a run of so many epochs has ended, by its last epoch or by early stopping."""
    return len(history) == epochs or bool(history and "best_epoch" in history[-1])
